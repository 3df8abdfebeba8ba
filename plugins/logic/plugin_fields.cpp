#include "logic/plugin_fields.h"

#include <cstring>

namespace ek::logic {
namespace {

char const* name_of(FieldType type) {
    constexpr char const* names[] = {"one INT32", "one FLOAT32", "a text", "another type"};
    return names[int(type)];
}

std::string quoted(std::string_view text) { return std::string("'").append(text).append("'"); }

void take(Field& field, GivenField const& given) {
    if (field.type == FieldType::kInt) std::memcpy(&field.number, given.data, sizeof field.number);
    if (field.type == FieldType::kFloat) std::memcpy(&field.real, given.data, sizeof field.real);
    if (field.type != FieldType::kText) return;
    field.text.assign(static_cast<char const*>(given.data), size_t(given.length));
    field.text.resize(std::strlen(field.text.c_str()));
}

}  // namespace

void const* Field::data() const {
    if (type == FieldType::kText) return text.c_str();
    return type == FieldType::kInt ? static_cast<void const*>(&number) : &real;
}

int Field::length() const { return type == FieldType::kText ? int(text.size()) + 1 : 1; }

std::string Fields::read(GivenField const* given, int count) {
    std::vector<bool> seen(fields_.size());
    for (GivenField const* item = given; item != given + count; ++item) {
        auto* const field = const_cast<Field*>(find(item->name));
        if (!field) {
            std::string known;
            for (auto const& one : fields_) known += (known.empty() ? "" : ", ") + std::string(one.name);
            return "expected fields of " + known + ", found " + quoted(item->name);
        }
        bool const sized = field->type == FieldType::kText ? item->length >= 0 : item->length == 1;
        if (item->type != field->type || !sized || (!item->data && item->length > 0))
            return "expected " + std::string(field->name) + " to be " + name_of(field->type) + ", found " +
                   (item->type == field->type ? std::to_string(item->length) + " of them" : name_of(item->type));
        take(*field, *item);
        seen[size_t(field - fields_.data())] = true;
    }
    for (size_t i = 0; i < fields_.size(); ++i)
        if (fields_[i].required && !seen[i]) return std::string("expected a field ") + fields_[i].name + ", found none";
    return {};
}

int Fields::choice(std::string_view name, std::initializer_list<char const*> texts, std::string& why) const {
    std::string known;
    int index = 0;
    for (char const* text : texts) {
        if (find(name)->text == text) return index;
        known += (index++ ? ", " : "") + std::string(text);
    }
    why = "expected " + std::string(name) + " to be one of " + known + ", found " + quoted(find(name)->text);
    return -1;
}

bool Fields::flag(std::string_view name, std::string& why) const {
    int const found = number(name);
    if (found != 0 && found != 1)
        why = "expected " + std::string(name) + " to be 0 or 1, found " + std::to_string(found);
    return found == 1;
}

Field const* Fields::find(std::string_view name) const {
    for (auto const& field : fields_)
        if (name == field.name) return &field;
    return nullptr;
}

}  // namespace ek::logic
