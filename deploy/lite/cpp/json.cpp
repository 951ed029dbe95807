#include "json.h"

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <stdexcept>

namespace ocr {

namespace {

const int kDeepest = 64;

void append_utf8(std::uint32_t code, std::string* out) {
  if (code < 0x80) {
    out->push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    out->push_back(static_cast<char>(0xC0 | (code >> 6)));
    out->push_back(static_cast<char>(0x80 | (code & 0x3F)));
  } else if (code < 0x10000) {
    out->push_back(static_cast<char>(0xE0 | (code >> 12)));
    out->push_back(static_cast<char>(0x80 | ((code >> 6) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (code & 0x3F)));
  } else {
    out->push_back(static_cast<char>(0xF0 | (code >> 18)));
    out->push_back(static_cast<char>(0x80 | ((code >> 12) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | ((code >> 6) & 0x3F)));
    out->push_back(static_cast<char>(0x80 | (code & 0x3F)));
  }
}

}  // namespace

class JsonParser {
 public:
  explicit JsonParser(const std::string& text) : text_(text) {}

  Json document() {
    Json value = parse_value(0);
    skip_space();
    if (at_ != text_.size()) fail("more after the end");
    return value;
  }

 private:
  [[noreturn]] void fail(const std::string& why) const {
    throw std::runtime_error("not JSON at byte " + std::to_string(at_) + ": " + why);
  }

  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void skip_space() {
    while (peek() == ' ' || peek() == '\n' || peek() == '\r' || peek() == '\t') ++at_;
  }

  bool take(char wanted) {
    skip_space();
    if (peek() != wanted) return false;
    ++at_;
    return true;
  }

  bool take_word(const char* word) {
    if (text_.compare(at_, std::strlen(word), word) != 0) return false;
    at_ += std::strlen(word);
    return true;
  }

  Json parse_value(int depth) {
    if (depth > kDeepest) fail("too many levels");
    skip_space();
    Json value;
    if (peek() == '{') {
      parse_map(depth, &value);
    } else if (peek() == '[') {
      parse_list(depth, &value);
    } else if (peek() == '"') {
      value.kind_ = Json::Kind::kText;
      value.text_ = parse_text();
    } else if (take_word("true") || take_word("false")) {
      value.kind_ = Json::Kind::kBool;
    } else if (!take_word("null")) {
      parse_number(&value);
    }
    return value;
  }

  void parse_map(int depth, Json* value) {
    value->kind_ = Json::Kind::kMap;
    take('{');
    if (take('}')) return;
    do {
      skip_space();
      const std::string key = parse_text();
      if (!take(':')) fail("':' expected");
      value->members_[key] = parse_value(depth + 1);
    } while (take(','));
    if (!take('}')) fail("'}' expected");
  }

  void parse_list(int depth, Json* value) {
    value->kind_ = Json::Kind::kList;
    take('[');
    if (take(']')) return;
    do {
      value->items_.push_back(parse_value(depth + 1));
    } while (take(','));
    if (!take(']')) fail("']' expected");
  }

  void parse_number(Json* value) {
    char* end = nullptr;
    const char* start = text_.c_str() + at_;
    value->kind_ = Json::Kind::kNumber;
    value->number_ = std::strtod(start, &end);
    if (end == start) fail("a value expected");
    at_ += static_cast<std::size_t>(end - start);
  }

  std::string parse_text() {
    if (peek() != '"') fail("a text expected");
    std::string out;
    for (++at_; peek() != '"'; ++at_) {
      if (at_ >= text_.size()) fail("a text does not end");
      if (peek() == '\\') {
        ++at_;
        parse_escape(&out);
      } else {
        out.push_back(peek());
      }
    }
    ++at_;
    return out;
  }

  void parse_escape(std::string* out) {
    const char* const letters = "\"\\/bfnrt";
    const char* const meant = "\"\\/\b\f\n\r\t";
    const char* const found = peek() == '\0' ? nullptr : std::strchr(letters, peek());
    if (found != nullptr) {
      out->push_back(meant[found - letters]);
      return;
    }
    if (peek() != 'u') fail("an unknown escape");
    std::uint32_t code = parse_hex();
    if (code >= 0xD800 && code < 0xDC00 && text_.compare(at_ + 1, 2, "\\u") == 0) {
      at_ += 2;
      const std::uint32_t low = parse_hex();
      if (low < 0xDC00 || low > 0xDFFF) fail("the second half of a character expected");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    append_utf8(code, out);
  }

  // From the 'u' to the last of its four digits.
  std::uint32_t parse_hex() {
    const std::string digits = text_.substr(at_ + 1, 4);
    if (digits.size() != 4 || digits.find_first_not_of("0123456789abcdefABCDEF") != std::string::npos)
      fail("four hexadecimal digits expected");
    at_ += 4;
    return static_cast<std::uint32_t>(std::strtoul(digits.c_str(), nullptr, 16));
  }

  const std::string& text_;
  std::size_t at_ = 0;
};

Json Json::parse(const std::string& text) { return JsonParser(text).document(); }

double Json::number() const {
  if (kind_ != Kind::kNumber) throw std::runtime_error("not a number");
  return number_;
}

const std::string& Json::text() const {
  if (kind_ != Kind::kText) throw std::runtime_error("not a text");
  return text_;
}

const std::vector<Json>& Json::items() const {
  if (kind_ != Kind::kList) throw std::runtime_error("not a list");
  return items_;
}

bool Json::has(const std::string& key) const { return members_.count(key) > 0; }

const Json& Json::at(const std::string& key) const {
  const auto found = members_.find(key);
  if (found == members_.end()) throw std::runtime_error("no key " + key);
  return found->second;
}

}  // namespace ocr
