// The rank's end of rank_stream.h: a process between mpirun or srun and a rank that passes on what
// the rank prints.
//
// It is the process that the launcher has started, and the rank is its child: so the launcher hears
// of the rank's end only after the last byte of it, also when the rank is killed. It ends as the
// rank does, with its exit code or by its signal, and heeds no signal of its own: mpirun sends them
// to the process group of both, srun to all it has started. When it is killed the rank is, too.
#pragma once

namespace syncbn::coordinator {

// Set in the environment of ranks whose output is wanted so: "1", or "lines" where the launcher
// passes on whole lines only. In a rank that has its relay it is "relayed".
inline constexpr const char* kRankRelayVariable = "SYNCBN_RELAY_OUTPUT";

// What a relay is called in /proc/PID/comm, to be told from a rank.
inline constexpr const char* kRankRelayName = "syncbn-relay";

// To be called first of all in a program, while it has one thread. Where the variable is set it
// goes on in a child whose outputs are relayed; the calling process does not return. Without the
// variable, or where no child can be made, nothing happens. A program that a rank has become (exec)
// has the rank's relay, and its lines, too, go there as soon as they end.
void RelayOutputIfWanted();

}  // namespace syncbn::coordinator
