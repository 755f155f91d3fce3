// What blocks of kBlockPoints points of a series come to, in the order in which the points arrived:
// so that a curve of a million points is drawn without reading each. Part of MetricTable.
//
// Blocks are written with their points, in the same transaction. Those of a series that began
// before there were any do not have all of its points, and are not used.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "coordinator/store/downsample.h"
#include "coordinator/store/sqlite.h"

namespace syncbn::coordinator {

constexpr int64_t kBlockPoints = 32;

class MetricBlocks {
 public:
  explicit MetricBlocks(Database& database) : database_(database) {}

  // The points that come after the first `before` of the series, in the order in which they
  // arrived.
  void Add(int64_t series, int64_t before, const std::vector<MetricPoint>& points);

  // A range of steps: of one block, or (no block) where points have to be read, because blocks that
  // share steps lie in it, of attempts that did them again.
  struct Stretch {
    int64_t first_step, last_step;
    std::optional<MetricBucket> block;
  };
  // The blocks with steps in the range, in the order of steps; nothing where they do not have all
  // points of the series, of which there are `points`.
  std::optional<std::vector<Stretch>> Read(int64_t series, int64_t points, int64_t first_step,
                                           int64_t last_step) const;

 private:
  Database& database_;
};

}  // namespace syncbn::coordinator
