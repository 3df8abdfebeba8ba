// JSON as edgekit writes it into a bundle, read strictly: what is no JSON, or has a key twice, is refused.
//
// Limits: 32 levels; numbers are doubles; a \u of half a surrogate pair is refused (edgekit writes such letters as
// UTF-8); that strings are UTF-8 is not checked. The caller limits the size.
#pragma once
#include <cstdlib>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace edgekit {

struct BadJson : std::runtime_error {
    using std::runtime_error::runtime_error;
};

class Json {
  public:
    enum Kind { kNull, kBool, kNumber, kText, kList, kTable };
    using List = std::vector<Json>;
    using Table = std::map<std::string, Json>;

    Json() = default;
    explicit Json(bool value) : kind_(kBool), number_(value) {}
    explicit Json(double value) : kind_(kNumber), number_(value) {}
    explicit Json(std::string value) : kind_(kText), text_(std::move(value)) {}
    explicit Json(List value) : kind_(kList), list_(std::move(value)) {}
    explicit Json(Table value) : kind_(kTable), table_(std::move(value)) {}

    Kind kind() const { return kind_; }
    // Each throws BadJson where the value is of another kind, or has no such key.
    bool flag() const { return check(kBool, "true or false"), number_ != 0; }
    double number() const { return check(kNumber, "a number"), number_; }
    std::string const& text() const { return check(kText, "a text"), text_; }
    List const& list() const { return check(kList, "a list"), list_; }
    Table const& table() const { return check(kTable, "a table"), table_; }
    Json const& at(std::string const& key) const {
        auto const found = table().find(key);
        if (found == table().end()) throw BadJson("expected a key " + key + ", found none");
        return found->second;
    }

  private:
    void check(Kind wanted, char const* what) const {
        if (kind_ != wanted) throw BadJson(std::string("expected ") + what + ", found another kind of value");
    }

    Kind kind_ = kNull;
    double number_ = 0;
    std::string text_;
    List list_;
    Table table_;
};

class JsonReader {
  public:
    explicit JsonReader(std::string_view text) : text_(text) {}

    Json read() {
        Json const whole = value(0);
        space();
        if (at_ != text_.size()) fail("nothing behind the value");
        return whole;
    }

  private:
    static constexpr int kDeepest = 32;

    [[noreturn]] void fail(char const* expected) const {
        throw BadJson(std::string("expected ") + expected + " at byte " + std::to_string(at_) + ", found none");
    }
    char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
    bool take(char wanted) {
        if (at_ >= text_.size() || text_[at_] != wanted) return false;
        ++at_;
        return true;
    }
    void space() {
        while (peek() == ' ' || peek() == '\n' || peek() == '\r' || peek() == '\t') ++at_;
    }

    Json value(int depth) {
        if (depth > kDeepest) fail("at most 32 levels");
        space();
        switch (peek()) {
            case '{':
                return table(depth);
            case '[':
                return list(depth);
            case '"':
                return Json(text());
            case 't':
                return word("true", Json(true));
            case 'f':
                return word("false", Json(false));
            case 'n':
                return word("null", Json());
            default:
                return Json(number());
        }
    }

    Json word(std::string_view spelt, Json meaning) {
        if (text_.substr(at_, spelt.size()) != spelt) fail("a value");
        at_ += spelt.size();
        return meaning;
    }

    Json table(int depth) {
        Json::Table found;
        take('{');
        space();
        if (take('}')) return Json(std::move(found));
        do {
            space();
            std::string key = text();
            space();
            if (!take(':')) fail("a colon");
            if (!found.emplace(std::move(key), value(depth + 1)).second) fail("each key once");
            space();
        } while (take(','));
        if (!take('}')) fail("a comma or a brace");
        return Json(std::move(found));
    }

    Json list(int depth) {
        Json::List found;
        take('[');
        space();
        if (take(']')) return Json(std::move(found));
        do {
            found.push_back(value(depth + 1));
            space();
        } while (take(','));
        if (!take(']')) fail("a comma or a bracket");
        return Json(std::move(found));
    }

    std::string text() {
        if (!take('"')) fail("a text");
        std::string found;
        while (at_ < text_.size()) {
            char const next = text_[at_++];
            if (next == '"') return found;
            if (static_cast<unsigned char>(next) < 0x20) fail("no control character");
            if (next == '\\')
                escape(found);
            else
                found += next;
        }
        fail("the end of a text");
    }

    void escape(std::string& found) {
        static constexpr std::string_view kLetters = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
        char const letter = peek();
        ++at_;
        if (auto const which = kLetters.find(letter); which != kLetters.npos) {
            found += kMeanings[which];
            return;
        }
        if (letter != 'u') fail("an escape");
        unsigned code = 0;
        for (int digit = 0; digit < 4; ++digit, ++at_) {
            auto const hex = std::string_view("0123456789abcdef").find(static_cast<char>(peek() | 0x20));
            if (hex == std::string_view::npos || (peek() < '0')) fail("four hexadecimal digits");
            code = code * 16 + static_cast<unsigned>(hex);
        }
        if (code >= 0xD800 && code < 0xE000) fail("no half of a surrogate pair");
        if (code < 0x80) {
            found += static_cast<char>(code);
        } else if (code < 0x800) {
            found += {static_cast<char>(0xC0 | code >> 6), static_cast<char>(0x80 | (code & 0x3F))};
        } else {
            found += {static_cast<char>(0xE0 | code >> 12), static_cast<char>(0x80 | (code >> 6 & 0x3F)),
                      static_cast<char>(0x80 | (code & 0x3F))};
        }
    }

    void digits() {
        if (peek() < '0' || peek() > '9') fail("a digit");
        while (peek() >= '0' && peek() <= '9') ++at_;
    }

    // By JSON's grammar; then strtod, which knows more than that, reads the very same characters.
    double number() {
        auto const start = at_;
        take('-');
        if (!take('0')) digits();
        if (take('.')) digits();
        if (take('e') || take('E')) {
            if (!take('+')) take('-');
            digits();
        }
        return std::strtod(std::string(text_.substr(start, at_ - start)).c_str(), nullptr);
    }

    std::string_view text_;
    std::size_t at_ = 0;
};

}  // namespace edgekit
