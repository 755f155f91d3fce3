// What the tests of command lines share.
#pragma once

#include <string>
#include <vector>

#include "coordinator/launch/launcher.h"

namespace syncbn::coordinator {

inline LaunchRequest MakeRequest(std::vector<Share> placement, int threads = 1) {
  LaunchRequest request;
  request.attempt = {.id = {17, 2}, .folder = "/d/jobs/17/attempts/2"};
  request.marker = "0123456789abcdef/jobs/17/attempts/2";
  request.placement = std::move(placement);
  request.request.job = 17;
  request.request.processes = 0;
  for (const Share& share : request.placement) request.request.processes += share.processes;
  request.request.threads = threads;
  request.program = {"/opt/syncbn/bin/syncbn", "train", "run file.yaml", "--set",
                     "train.epochs=3; rm -rf /"};
  request.environment = {"SYNCBN_TOKEN=secret", "OMP_NUM_THREADS=1"};
  request.working_folder = "/d";
  return request;
}

// Split at blanks; ~ stands for one.
inline std::vector<std::string> Words(const std::string& text) {
  std::vector<std::string> words = {""};
  for (char c : text) {
    if (c == ' ') {
      words.emplace_back();
    } else {
      words.back() += c == '~' ? ' ' : c;
    }
  }
  return words;
}

}  // namespace syncbn::coordinator
