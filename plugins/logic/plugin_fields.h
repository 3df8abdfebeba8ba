// The attributes of an operator as fields of a plugin: read from those that a parser or an engine gives, and written.
#pragma once
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ek::logic {

enum class FieldType { kInt, kFloat, kText, kOther };

// A field from outside: `length` numbers of 32 bits or characters at `data`.
struct GivenField {
    std::string_view name;
    FieldType type;
    void const* data;
    int length;
};

// An attribute with its value; that of `type` counts.
struct Field {
    char const* name = nullptr;
    FieldType type = FieldType::kOther;
    bool required = false;
    int number = 0;
    float real = 0;
    std::string text = {};

    // As GivenField has them; a text ends with a zero, as the ONNX parser writes it.
    void const* data() const;
    int length() const;
};

class Fields {
  public:
    explicit Fields(std::vector<Field> fields) : fields_(std::move(fields)) {}

    // Takes the values; what is wrong in one line, else an empty text. A field that is not given keeps its value, one
    // that no one knows is wrong.
    std::string read(GivenField const* given, int count);

    int number(std::string_view name) const { return find(name)->number; }
    float real(std::string_view name) const { return find(name)->real; }
    std::string const& text(std::string_view name) const { return find(name)->text; }
    std::vector<Field> const& all() const { return fields_; }

    // Which of these texts, or numbers 0 and 1, a field has: -1 and `why` when none.
    int choice(std::string_view name, std::initializer_list<char const*> texts, std::string& why) const;
    bool flag(std::string_view name, std::string& why) const;

  private:
    Field const* find(std::string_view name) const;

    std::vector<Field> fields_;
};

}  // namespace ek::logic
