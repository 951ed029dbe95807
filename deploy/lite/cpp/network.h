// One network of Paddle Lite.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "paddle_api.h"

namespace ocr {

// Sizes, and values in their order.
struct Array {
  std::vector<int64_t> shape;
  std::vector<float> values;
};

class Network {
 public:
  // folder: lite/ of an exported model. half: arm_fp16.nb, for armv8.2 with half-precision
  // arithmetic. Throws std::runtime_error where the file is absent or the runtime is not the version
  // that the file was written for.
  Network(const std::string& folder, int threads, bool half);

  // images: [1, 3, H, W]. Not for several threads at once.
  Array run(const Array& images);

 private:
  using Predictor = std::shared_ptr<paddle::lite_api::PaddlePredictor>;

  Predictor make() const;

  std::string path_;
  int threads_;
  Predictor predictor_;
  std::vector<int64_t> seen_;  // the last picture's shape
};

}  // namespace ocr
