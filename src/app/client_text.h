// What users write on the command line for a coordinator, and how its answers are shown: names,
// times, durations, JSON.
#pragma once

#include <google/protobuf/duration.pb.h>
#include <google/protobuf/map.h>
#include <google/protobuf/message.h>
#include <google/protobuf/timestamp.pb.h>

#include <chrono>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/clock.h"

namespace syncbn::app {

// "17" or "jobs/17" as "jobs/17"; throws INVALID_ARGUMENT for anything else.
std::string JobNameOf(std::string_view text);
// "3" or "studies/3" as "studies/3", likewise.
std::string StudyNameOf(std::string_view text);
// "jobs/17" as "17", "hosts/node1" as "node1": the last part of a name.
std::string LastPart(std::string_view name);

// "90", "45s", "30m", "2h", "1d" and sums such as "1h30m"; a number alone is in seconds. Throws
// INVALID_ARGUMENT that names `option`, also for less than a second and for more than `most`.
std::chrono::seconds ParseDuration(std::string_view text, std::string_view option,
                                   std::chrono::seconds most);

// "key=value"; throws INVALID_ARGUMENT that names `option`.
std::pair<std::string, std::string> ParsePair(const std::string& text, std::string_view option);
// Those of --label; throws INVALID_ARGUMENT for what is none, and for a key that is given twice.
google::protobuf::Map<std::string, std::string> ParseLabels(const std::vector<std::string>& labels);

WallTime TimeOf(const google::protobuf::Timestamp& time);
double SecondsOf(const google::protobuf::Duration& duration);

// "12 s ago", "3 min ago", "5 h ago", "2 days ago", "in 8 s".
std::string Ago(const google::protobuf::Timestamp& time, WallTime now);
// "in 10 s", of what is to come; "now" where it is due.
std::string In(const google::protobuf::Timestamp& time, WallTime now);
// The same without "ago".
std::string RoughDuration(double seconds);
// "2026-11-22 21:03:11 UTC", in the time zone of this machine.
std::string LocalTime(const google::protobuf::Timestamp& time);
// "21:03:11"
std::string LocalClock(WallTime time);

// "1234567" as "1,234,567".
std::string Thousands(int64_t value);
// "512 B", "12.3 KiB", "1.2 GiB"
std::string Bytes(int64_t value);

// What --json prints: as protobuf writes it, with the fields' own names and every plain field; but
// numbers are numbers, also those of 64 bits, and one that is not finite is null.
nlohmann::ordered_json JsonOf(const google::protobuf::Message& message);
// The same as one line.
std::string JsonLine(const google::protobuf::Message& message);

}  // namespace syncbn::app
