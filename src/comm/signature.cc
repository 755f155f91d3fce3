#include "comm/signature.h"

#include <algorithm>
#include <cstring>
#include <span>
#include <tuple>

#include "base/digest.h"

namespace syncbn::comm {
namespace {

std::string_view NumberWord(DType dtype) {
  switch (dtype) {
    case DType::kFloat32: return "floats";
    case DType::kFloat64: return "doubles";
    case DType::kInt32: return "int32";
    case DType::kInt64: return "int64";
    case DType::kUint8: return "bytes";
    case DType::kBFloat16:
      return "bfloat16";
  }
  return "?";
}

std::string_view OperationWord(Operation operation) {
  switch (operation) {
    case Operation::kSum: return "sum";
    case Operation::kMergeMoments: return "moments";
  }
  return "?";
}

}  // namespace

Signature Signature::Of(int replica, int rank, const Reduction& reduction) {
  Signature result{.operation = reduction.operation,
                   .dtype = reduction.contribution.dtype(),
                   .replica = replica,
                   .rank = rank,
                   .elements = reduction.contribution.elements(),
                   .name_hash = DigestOf(std::as_bytes(std::span(reduction.name))).low};
  if (reduction.operation == Operation::kMergeMoments) {
    result.channels_hash = DigestOf(std::as_bytes(reduction.channels)).low;
  }
  const size_t kept = std::min(reduction.name.size(), result.name.size() - 1);
  std::memcpy(result.name.data(), reduction.name.data(), kept);
  return result;
}

bool Signature::Agrees(const Signature& other) const {
  return operation == other.operation && dtype == other.dtype && elements == other.elements &&
         place == other.place && name_hash == other.name_hash &&
         channels_hash == other.channels_hash;
}

std::string_view Signature::Name() const { return {name.data(), ::strnlen(name.data(), name.size())}; }

std::string Signature::Describe() const {
  return "'" + std::string(Name()) + "' (" + std::to_string(elements) + " " +
         std::string(NumberWord(dtype)) + ", " + std::string(OperationWord(operation)) + ")";
}

std::string DescribeMismatch(const Signature& one, const Signature& other, Group group,
                             int64_t sequence) {
  const bool swap = std::tie(one.rank, one.replica) < std::tie(other.rank, other.replica);
  const Signature& first = swap ? other : one;
  const Signature& second = swap ? one : other;
  std::string text = "rank " + std::to_string(first.rank) + " replica " +
                     std::to_string(first.replica) + " reduces " + first.Describe() + ", rank " +
                     std::to_string(second.rank) + " replica " + std::to_string(second.replica) +
                     " " + second.Describe() + ", both as reduction " + std::to_string(sequence) +
                     " of " + comm::Describe(group);
  if (first.place != second.place) {
    text += ", the one as number " + std::to_string(first.place) +
            " of its program, the other as number " + std::to_string(second.place);
  } else if (first.Describe() == second.Describe()) {
    text += " (their channels or long names differ)";
  }
  return text + ": all replicas of a group must reduce the same things in the same order";
}

std::string Describe(Group group) {
  if (group.size() == 1) return "replica " + std::to_string(group.begin);
  return "replicas " + std::to_string(group.begin) + ".." + std::to_string(group.end - 1);
}

}  // namespace syncbn::comm
