#include "report/spool_file.h"

#include <bit>
#include <cstdio>
#include <cstring>
#include <span>

#include "base/digest.h"

namespace syncbn::report {
namespace {

static_assert(std::endian::native == std::endian::little);
constexpr std::string_view kMagic = "SBR1";

template <typename Number>
void Put(std::string& bytes, size_t at, Number value) {
  std::memcpy(bytes.data() + at, &value, sizeof value);
}

template <typename Number>
Number Get(std::string_view bytes, size_t at) {
  Number value;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

uint64_t Check(std::string_view type_and_length, std::string_view payload) {
  Digester digester;
  digester.Add(type_and_length);
  digester.Add(payload);
  return digester.Finish().low;
}

}  // namespace

std::string MakeRecord(RecordType type, std::string_view payload) {
  std::string record(kRecordHead, '\0');
  record.replace(0, 4, kMagic);
  Put(record, 4, static_cast<uint32_t>(type));
  Put(record, 8, static_cast<uint32_t>(payload.size()));
  Put(record, 12, Check(std::string_view(record).substr(4, 8), payload));
  return record.append(payload);
}

size_t ReadRecords(std::string_view content,
                   const std::function<void(RecordType, std::string_view payload)>& take) {
  size_t foreign = 0;
  while (!content.empty()) {
    if (content.size() >= kRecordHead && content.starts_with(kMagic)) {
      const size_t length = Get<uint32_t>(content, 8);
      if (length <= kLargestRecord && kRecordHead + length <= content.size()) {
        const std::string_view payload = content.substr(kRecordHead, length);
        if (Get<uint64_t>(content, 12) == Check(content.substr(4, 8), payload)) {
          take(static_cast<RecordType>(Get<uint32_t>(content, 4)), payload);
          content.remove_prefix(kRecordHead + length);
          continue;
        }
      }
    }
    const size_t next = content.find(kMagic, 1);
    const size_t skipped = next == std::string_view::npos ? content.size() : next;
    foreign += skipped;
    content.remove_prefix(skipped);
  }
  return foreign;
}

std::string RankPrefix(int rank) {
  char name[32];
  std::snprintf(name, sizeof name, "rank-%05d.", rank);
  return name;
}

std::string SegmentName(int rank, int segment) {
  char name[32];
  std::snprintf(name, sizeof name, "%06d.spool", segment);
  return RankPrefix(rank) + name;
}

std::string ExitName(int rank) { return RankPrefix(rank) + "exit"; }

}  // namespace syncbn::report
