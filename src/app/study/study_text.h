// Studies of a coordinator as text for people.
#pragma once

#include <span>
#include <string>

#include "app/terminal.h"
#include "base/clock.h"
#include "syncbn/v1/study_service.pb.h"

namespace syncbn::app {

bool HasEnded(v1::Study::State state);
std::string StateName(v1::Study::State state);
Tone ToneOf(v1::Study::State state);

// "12 of 40 trials, 2 under way, 1 failed, 3 diverged; best 91.23 %"
std::string ProgressText(const v1::StudyProgress& progress);

std::string StudiesTable(std::span<const v1::Study> studies, const Terminal& terminal,
                         WallTime now);
// Everything about one, with what to do next.
std::string StudyText(const v1::Study& study, const Terminal& terminal, WallTime now);

// Of a command that followed it to its end.
int ExitCodeOf(v1::Study::State state);

}  // namespace syncbn::app
