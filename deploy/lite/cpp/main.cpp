// ocr_lite DETECTOR RECOGNIZER PICTURE [--threads N] [--fp16]
//
// Prints a line for each region with text, top to bottom: confidence, the region's top-left corner,
// text, separated by tabs. DETECTOR and RECOGNIZER are folders made by scripts/export.py with lite.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "detector.h"
#include "picture.h"
#include "recognizer.h"

namespace {

const char* const kUsage = "usage: ocr_lite DETECTOR RECOGNIZER PICTURE [--threads N] [--fp16]";

struct Options {
  std::vector<std::string> paths;
  int threads = 1;
  bool half = false;
};

Options parse(int count, char** words) {
  Options options;
  for (int index = 1; index < count; ++index) {
    const std::string word = words[index];
    if (word == "--fp16") {
      options.half = true;
    } else if (word == "--threads" && index + 1 < count) {
      options.threads = std::atoi(words[++index]);
      if (options.threads < 1) throw std::runtime_error("--threads: a whole number from 1");
    } else if (word.compare(0, 2, "--") == 0) {
      throw std::runtime_error(word + ": no such option, or its value is missing\n" + kUsage);
    } else {
      options.paths.push_back(word);
    }
  }
  if (options.paths.size() != 3) throw std::runtime_error(kUsage);
  return options;
}

void run(const Options& options) {
  const cv::Mat picture = ocr::read_picture(options.paths[2]);
  ocr::Detector detector(options.paths[0], options.threads, options.half);
  ocr::Recognizer recognizer(options.paths[1], options.threads, options.half);
  for (const ocr::Region& region : detector.detect(picture)) {
    const ocr::Line line = recognizer.recognize(ocr::crop_line(picture, region));
    if (!line.text.empty())
      std::printf("%.3f\t%.0f,%.0f\t%s\n", line.confidence, region.points[0].x, region.points[0].y,
                  line.text.c_str());
  }
}

}  // namespace

int main(int count, char** words) {
  try {
    run(parse(count, words));
  } catch (const std::exception& error) {
    std::fprintf(stderr, "ocr_lite: %s\n", error.what());
    return 1;
  }
  return 0;
}
