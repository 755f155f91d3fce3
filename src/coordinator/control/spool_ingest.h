// Takes what the workers of an ended attempt could not deliver (report/spool.h) into the store.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "coordinator/store/store.h"

namespace syncbn::coordinator {

struct SpoolIngest {
  int ranks = 0;            // that had a spool
  int64_t points = 0;       // new ones
  int64_t lost_points = 0;  // newly known to be lost
  int exits = 0;            // exit reports read
  // What could not be taken, and why; the files of that rank stay.
  std::vector<std::string> problems;
};

// Stores a rank's report of its end, after which none of its points comes any more; returns how
// many of them are newly known to be lost.
int64_t PutRankExit(Tables& tables, AttemptId attempt, int rank, const v1::RankExit& exit);

// Reads every rank's files in `folder` (none if it is not there) and removes those that were taken
// in whole. May be repeated: nothing is stored twice. Call when no worker of the attempt writes any
// more. Does not throw for what is wrong with one rank's files or with storing them: that is a
// problem.
SpoolIngest IngestSpool(Store& store, AttemptId attempt, const std::filesystem::path& folder,
                        WallTime now);

// "took in 120 metric points and 2 exit reports of 2 ranks"; empty when there was nothing.
std::string Describe(const SpoolIngest& ingested);

}  // namespace syncbn::coordinator
