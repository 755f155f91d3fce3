// The records of a spool file: a frame around bytes by which a reader knows what was written whole.
//
//   magic   4 bytes  "SBR1"
//   type    4 bytes  little endian, like all numbers
//   length  4 bytes  of the payload
//   check   8 bytes  XXH3 of type, length and payload
//   payload
//
// A file whose end was torn off, or which was damaged anywhere, still gives every record that is
// whole: a reader that finds none where it should be looks for the next magic.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace syncbn::report {

enum class RecordType : uint32_t {
  kOwner = 1,    // syncbn.v1.RankName: first in every segment
  kMetrics = 2,  // syncbn.v1.MetricBatch
  kExit = 3,     // syncbn.v1.RankExit
};

inline constexpr size_t kRecordHead = 20;
// A record that claims more is damaged.
inline constexpr size_t kLargestRecord = 1 << 20;

std::string MakeRecord(RecordType type, std::string_view payload);

// Calls take() with every whole record, in order. Returns how many bytes belong to none.
size_t ReadRecords(std::string_view content,
                   const std::function<void(RecordType, std::string_view payload)>& take);

// What the names of the files of one rank begin with: "rank-00003.".
std::string RankPrefix(int rank);
// "rank-00003.000012.spool"; segments are numbered from 1.
std::string SegmentName(int rank, int segment);
// "rank-00003.exit"
std::string ExitName(int rank);

}  // namespace syncbn::report
