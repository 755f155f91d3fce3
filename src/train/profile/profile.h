// What the processes of a run have recorded, in one place and one time.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.h"
#include "train/profile/recorder.h"

namespace syncbn::train {

struct Profile {
  struct Process {
    std::string host;
    Recording recording;
  };
  // By rank. Times of hosts whose clocks are not the root's are moved to it by what barriers say:
  // to about the time that a message takes.
  std::vector<Process> processes;

  // Steps that all of them have recorded.
  int64_t steps() const;
};

// Collective: what every process has recorded; empty but on the root (rank 0).
// `clock`: what the recording's times are of.
Profile GatherProfile(comm::Communicator& communicator, std::string_view host, Recording recording,
                      const Clock& clock = Clock::System());

// A recording as text, and back. Throws DATA_LOSS where it is none.
std::string RecordingText(const Recording& recording);
Recording RecordingOf(std::string_view text);

}  // namespace syncbn::train
