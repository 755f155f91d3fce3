// `train --profile`: what was recorded of a run's steps, for people and as files.
#pragma once

#include <cstdint>
#include <filesystem>

#include "backend/backend.h"
#include "comm/communicator.h"
#include "nn/model.h"
#include "train/profile/recorder.h"

namespace syncbn::app {

// Throws INVALID_ARGUMENT where the work of the back end is not done when its functions return: the
// host's clock says nothing of it.
void CheckCanProfile(const backend::Backend& backend);

// Collective. On rank 0 prints the table and writes layers.csv and trace.json into `folder`; what
// cannot be written is a warning, since the run is not the worse for it.
void LeaveProfile(comm::Communicator& communicator, train::Recorder& recorder,
                  const train::Recorder::Steps& steps, const nn::Model& model,
                  const std::filesystem::path& folder);

}  // namespace syncbn::app
