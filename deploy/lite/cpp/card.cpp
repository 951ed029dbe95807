#include "card.h"

#include <cmath>
#include <fstream>
#include <sstream>
#include <stdexcept>

#include "json.h"

namespace ocr {

namespace {

const int kFormat = 2;
const int kMost = 100000;

std::string read_file(const std::string& path) {
  std::ifstream stream(path.c_str(), std::ios::binary);
  if (!stream) throw std::runtime_error(path + ": cannot be read");
  std::ostringstream content;
  content << stream.rdbuf();
  return content.str();
}

// A size or a count: nothing that would be divided by, or allocated, is 0, negative or huge.
int whole(const Json& map, const std::string& key) {
  const double number = map.at(key).number();
  if (!(number >= 1 && number <= kMost) || number != std::floor(number))
    throw std::runtime_error(key + " is " + std::to_string(number) +
                             "; allowed: whole numbers from 1 to " + std::to_string(kMost));
  return static_cast<int>(number);
}

float real(const Json& map, const std::string& key) {
  const double number = map.at(key).number();
  if (!(number >= 0 && number <= kMost))
    throw std::runtime_error(key + " is " + std::to_string(number) + "; allowed: 0 to " +
                             std::to_string(kMost));
  return static_cast<float>(number);
}

// The part "model" of a card, once version and task are as expected.
Json load_model(const std::string& folder, const std::string& task) {
  const std::string path = folder + "/exported.json";
  const Json card = Json::parse(read_file(path));
  const int format = whole(card, "format");
  if (format != kFormat)
    throw std::runtime_error("format " + std::to_string(format) + "; this program reads " +
                             std::to_string(kFormat) + ": export the model again");
  const Json model = card.at("model");
  if (model.at("task").text() != task)
    throw std::runtime_error("task " + model.at("task").text() + ", expected " + task +
                             "; the detector's folder comes first");
  return model;
}

std::array<float, 3> three(const Json& list) {
  if (list.items().size() != 3) throw std::runtime_error("three numbers expected");
  std::array<float, 3> out;
  for (std::size_t index = 0; index < 3; ++index)
    out[index] = static_cast<float>(list.items()[index].number());
  return out;
}

std::vector<std::string> load_charset(const std::string& path, int classes) {
  const std::string content = read_file(path);
  std::vector<std::string> entries;
  for (std::size_t start = 0; start < content.size();) {
    std::size_t end = content.find('\n', start);
    if (end == std::string::npos) end = content.size();
    entries.push_back(content.substr(start, end - start));
    start = end + 1;
  }
  entries.push_back(" ");
  if (static_cast<int>(entries.size()) + 1 != classes)
    throw std::runtime_error("charset.txt gives " + std::to_string(entries.size() + 1) +
                             " classes, the network has " + std::to_string(classes));
  return entries;
}

}  // namespace

DetCard load_det_card(const std::string& folder) {
  try {
    const Json model = load_model(folder, "det");
    const Json image = model.at("image");
    const Json decode = model.at("decode");
    DetCard card;
    card.image.mean = three(image.at("mean"));
    card.image.std = three(image.at("std"));
    for (const float std : card.image.std)
      if (!(std > 0)) throw std::runtime_error("std is " + std::to_string(std) + "; allowed: above 0");
    card.image.min_side = whole(image, "min_side");
    card.image.max_side = whole(image, "max_side");
    card.image.multiple = whole(image, "multiple");
    card.decode.threshold = real(decode, "threshold");
    card.decode.min_score = real(decode, "min_score");
    card.decode.unclip_ratio = real(decode, "unclip_ratio");
    const bool has_margin = decode.has("reading_margin");
    card.decode.reading_margin = has_margin ? real(decode, "reading_margin") : 0.0f;
    card.decode.min_side = real(decode, "min_side");
    card.decode.max_candidates = whole(decode, "max_candidates");
    return card;
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(folder + ": not a detector that was exported: " + error.what());
  }
}

RecCard load_rec_card(const std::string& folder) {
  try {
    const Json model = load_model(folder, "rec");
    const Json image = model.at("image");
    RecCard card;
    card.image.height = whole(image, "height");
    card.image.min_width = whole(image, "min_width");
    card.image.width_step = whole(image, "width_step");
    card.image.max_width = whole(image, "max_width");
    card.charset = load_charset(folder + "/charset.txt", whole(model, "classes"));
    return card;
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(folder + ": not a recognizer that was exported: " + error.what());
  }
}

}  // namespace ocr
