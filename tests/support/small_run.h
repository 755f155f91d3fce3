// The run file of the tests.
#pragma once

#include <string>

namespace syncbn {

// A small residual net with everything that is drawn at random, clipping, and a last partial batch:
// 100 samples in batches of 32 end in one of 4 (R = 8: half of the replicas are empty then).
inline std::string SmallRun(int replicas, int batch, const std::string& norm_batch,
                     const std::string& more = "") {
  return "seed: 3\n"
         "data:\n"
         "  dataset: shapes\n"
         "  shapes: {train_samples: 100, test_samples: 20}\n"
         "  augment: {random_crop_padding: 4, horizontal_flip: true}\n"
         "model:\n"
         "  norm: {batch: " + norm_batch + "}\n"
         "  layers:\n"
         "    - conv: {out: 8, kernel: 3, stride: 2, padding: 1}\n"
         "    - norm\n"
         "    - relu\n"
         "    - residual:\n"
         "        body:\n"
         "          - conv: {out: 8, kernel: 3, stride: 2, padding: 1}\n"
         "          - norm\n"
         "          - relu\n"
         "          - conv: {out: 8, kernel: 3, padding: 1}\n"
         "          - norm\n"
         "        shortcut:\n"
         "          - conv: {out: 8, kernel: 1, stride: 2}\n"
         "          - norm\n"
         "    - relu\n"
         "    - dropout: 0.3\n"
         "    - global_average_pool\n"
         "    - linear: 10\n"
         "cluster: {replicas: " + std::to_string(replicas) +
         ", batch_per_replica: " + std::to_string(batch) + ", bucket_mib: 0.002}\n"
         "train:\n"
         "  epochs: 100\n"
         "  max_steps: 30\n"
         "  clip_norm: 0.7\n"
         "  optimizer: {momentum: 0.9, nesterov: true, weight_decay: 0.0005}\n"
         "  learning_rate: {base: 0.1, warmup_epochs: 1, schedule: cosine}\n"
         "output: {digests: true}\n" + more;
}

}  // namespace syncbn
