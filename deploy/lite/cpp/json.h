// Just enough JSON to read exported.json.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace ocr {

// One value. Asking for another kind than it is throws std::runtime_error, as does an absent key.
class Json {
 public:
  static Json parse(const std::string& text);

  double number() const;
  const std::string& text() const;
  const std::vector<Json>& items() const;
  const Json& at(const std::string& key) const;
  bool has(const std::string& key) const;

 private:
  friend class JsonParser;
  enum class Kind { kNull, kBool, kNumber, kText, kList, kMap };

  Kind kind_ = Kind::kNull;
  double number_ = 0;
  std::string text_;
  std::vector<Json> items_;
  std::map<std::string, Json> members_;
};

}  // namespace ocr
