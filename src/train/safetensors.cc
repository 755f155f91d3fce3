#include "train/safetensors.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>

#include "base/check.h"
#include "base/error.h"
#include "base/file.h"
#include "base/regular_file.h"
#include "base/text.h"
#include "base/untrusted_json.h"

namespace syncbn::train {
namespace {

static_assert(std::endian::native == std::endian::little,
              "tensors are written as they lie in memory");

constexpr uint64_t kPrefixBytes = 8;
// The format's own library refuses longer headers; a damaged length must not become an allocation.
constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr const char* kMetadataKey = "__metadata__";

std::array<std::byte, kPrefixBytes> EncodeLength(uint64_t length) {
  return std::bit_cast<std::array<std::byte, kPrefixBytes>>(length);
}

// One tensor as the header describes it, checked against the format but not yet against its
// neighbours.
struct Entry {
  std::string name;
  DType dtype = DType::kFloat32;
  Shape shape;
  uint64_t begin = 0, end = 0;
};

// Reads a file from front to back and knows its name for messages.
class Source {
 public:
  explicit Source(const std::filesystem::path& path) : path_(path), file_(nullptr, &std::fclose) {
    RegularFile file = OpenRegularFile(path);
    file_.reset(::fdopen(file.descriptor.get(), "rb"));
    if (!file_) ThrowErrno("open", path_);
    file.descriptor.Release();
    size_ = static_cast<uint64_t>(file.bytes);
  }

  std::string name() const { return path_.string(); }
  uint64_t size() const { return size_; }

  // The next bytes, all of them.
  void Read(std::span<std::byte> bytes) {
    if (bytes.empty()) return;
    errno = 0;
    if (std::fread(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size()) {
      if (std::ferror(file_.get())) ThrowErrno("read", path_);
      Damaged("it ends while it is read");
    }
    digester_.Add(bytes);
  }

  Digest digest() const { return digester_.Finish(); }

  [[noreturn]] void Damaged(const std::string& what) const {
    throw Error(ErrorCode::kDataLoss, path_.string() + " is damaged: " + what);
  }

 private:
  std::filesystem::path path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
  uint64_t size_ = 0;
  Digester digester_;
};

// Parses JSON; duplicate keys, of which nlohmann takes the last, are refused.
nlohmann::json ParseHeader(const std::string& text, const Source& source) {
  std::vector<std::set<std::string>> open_objects;
  std::optional<std::string> duplicate;
  auto watch = [&](int, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    using Event = nlohmann::json::parse_event_t;
    if (event == Event::object_start) open_objects.emplace_back();
    if (event == Event::object_end) open_objects.pop_back();
    if (event == Event::key && !open_objects.back().insert(parsed.get<std::string>()).second) {
      duplicate = parsed.get<std::string>();
    }
    return true;
  };
  nlohmann::json header;
  try {
    CheckJsonNesting(text);
    header = nlohmann::json::parse(text, watch);
  } catch (const JsonFault& fault) {
    source.Damaged("its header: " + fault.message());
  } catch (const nlohmann::json::parse_error& error) {
    source.Damaged("its header is not JSON (at byte " + std::to_string(error.byte) +
                   " of the header)");
  } catch (const nlohmann::json::exception&) {
    source.Damaged("its header has a number that is out of range");
  }
  if (duplicate) source.Damaged("the name '" + *duplicate + "' is in its header twice");
  if (!header.is_object()) source.Damaged("its header is not a JSON object");
  return header;
}

std::optional<DType> ParseDType(const std::string& name) {
  for (DType dtype : {DType::kFloat32, DType::kFloat64, DType::kInt32, DType::kInt64, DType::kUint8,
                      DType::kBFloat16}) {
    if (DTypeName(dtype) == name) return dtype;
  }
  return std::nullopt;
}

// The other element types of safetensors files.
bool IsOfFormat(std::string_view name) {
  constexpr std::string_view kOthers[] = {"F16", "F8_E4M3", "F8_E5M2", "BOOL", "I8",
                                          "I16", "U16",     "U32",     "U64",  "C64"};
  return std::ranges::find(kOthers, name) != std::end(kOthers);
}

// Bytes of a tensor; nothing when that does not fit 63 bits.
std::optional<uint64_t> BytesOf(std::span<const int64_t> extents, DType dtype) {
  int64_t bytes = static_cast<int64_t>(SizeOf(dtype));
  bool empty = false;
  for (int64_t extent : extents) {
    if (extent == 0) empty = true;
    if (extent != 0 && __builtin_mul_overflow(bytes, extent, &bytes)) return std::nullopt;
  }
  return empty ? 0 : static_cast<uint64_t>(bytes);
}

Entry ParseEntry(const std::string& name, const nlohmann::json& value, uint64_t data_bytes,
                 const Source& source) {
  auto damaged = [&](const std::string& what) { source.Damaged("tensor '" + name + "': " + what); };
  auto are_counts = [](const nlohmann::json& list) {
    return list.is_array() && std::ranges::all_of(list, [](const nlohmann::json& item) {
             return item.is_number_unsigned() &&
                    item.get<uint64_t>() <= uint64_t{std::numeric_limits<int64_t>::max()};
           });
  };
  if (!value.is_object()) damaged("its entry is not a JSON object");
  for (const char* key : {"dtype", "shape", "data_offsets"}) {
    if (!value.contains(key)) damaged("its entry has no " + std::string(key));
  }
  if (value.size() != 3) damaged("its entry has more than dtype, shape and data_offsets");
  Entry entry{.name = name};

  const nlohmann::json &dtype = value["dtype"], &shape = value["shape"],
                       &offsets = value["data_offsets"];
  const std::optional<DType> known =
      dtype.is_string() ? ParseDType(dtype.get<std::string>()) : std::nullopt;
  if (!known && dtype.is_string() && IsOfFormat(dtype.get<std::string>())) {
    throw Error(ErrorCode::kInvalidArgument,
                source.name() + ": tensor '" + name + "' is of " + dtype.get<std::string>() +
                    ", which is not read: convert it to F32 (or F64, I32, I64, U8, BF16)");
  }
  if (!known) damaged("unknown element type " + dtype.dump() + " (F32, F64, I32, I64, U8 or BF16)");
  entry.dtype = *known;

  if (!are_counts(shape)) damaged("the shape " + shape.dump() + " is not a list of extents");
  const auto extents = shape.get<std::vector<int64_t>>();
  if (extents.size() > Shape::kMaxRank) {
    damaged("it has " + std::to_string(extents.size()) + " axes, more than " +
            std::to_string(Shape::kMaxRank));
  }
  const std::optional<uint64_t> bytes = BytesOf(extents, entry.dtype);
  if (!bytes) damaged("the shape " + shape.dump() + " is too large");
  entry.shape = Shape(extents);

  if (!are_counts(offsets) || offsets.size() != 2 || offsets[0] > offsets[1]) {
    damaged("the data_offsets " + offsets.dump() + " are not [begin, end]");
  }
  entry.begin = offsets[0].get<uint64_t>();
  entry.end = offsets[1].get<uint64_t>();
  if (entry.end > data_bytes) {
    damaged("it ends at byte " + std::to_string(entry.end) + " of the data, which has " +
            std::to_string(data_bytes));
  }
  if (entry.end - entry.begin != *bytes) {
    damaged("shape " + shape.dump() + " of " + std::string(DTypeName(entry.dtype)) + " needs " +
            Plural(static_cast<long long>(*bytes), "byte") + ", but it has " +
            std::to_string(entry.end - entry.begin));
  }
  return entry;
}

// All tensors of the header in the order of their bytes, which they cover without holes or overlap.
std::vector<Entry> ParseEntries(const nlohmann::json& header, uint64_t data_bytes,
                                const Source& source) {
  std::vector<Entry> entries;
  for (const auto& [name, value] : header.items()) {
    if (name != kMetadataKey) entries.push_back(ParseEntry(name, value, data_bytes, source));
  }
  std::ranges::stable_sort(entries, [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  uint64_t covered = 0;
  std::string previous;
  for (const Entry& entry : entries) {
    if (entry.begin < covered) {
      source.Damaged("tensors '" + previous + "' and '" + entry.name + "' overlap");
    }
    if (entry.begin > covered) {
      source.Damaged("bytes " + std::to_string(covered) + " to " + std::to_string(entry.begin) +
                     " of the data, before tensor '" + entry.name + "', belong to no tensor");
    }
    covered = entry.end;
    previous = entry.name;
  }
  if (covered != data_bytes) {
    source.Damaged(Plural(static_cast<long long>(data_bytes - covered), "byte") +
                   " after the last tensor");
  }
  return entries;
}

}  // namespace

Digest WriteSafetensors(const std::filesystem::path& path, std::span<const NamedTensor> tensors,
                        const std::map<std::string, std::string>& metadata) {
  std::vector<const NamedTensor*> order;
  for (const NamedTensor& entry : tensors) order.push_back(&entry);
  std::ranges::stable_sort(order, std::ranges::greater(),
                           [](const NamedTensor* entry) { return SizeOf(entry->tensor.dtype()); });

  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[kMetadataKey] = metadata;
  std::set<std::string_view> names{kMetadataKey};
  uint64_t offset = 0;
  for (const NamedTensor* entry : order) {
    const Tensor& tensor = entry->tensor;
    SYNCBN_CHECK(names.insert(entry->name).second) << "two tensors are called " << entry->name;
    const std::span<const int64_t> extents = tensor.shape().extents();
    header[entry->name] = {{"dtype", std::string(DTypeName(tensor.dtype()))},
                           {"shape", std::vector<int64_t>(extents.begin(), extents.end())},
                           {"data_offsets", {offset, offset + tensor.bytes()}}};
    offset += tensor.bytes();
  }
  std::string text = header.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  text.resize((text.size() + kPrefixBytes - 1) / kPrefixBytes * kPrefixBytes, ' ');

  const auto length = EncodeLength(text.size());
  std::vector<std::span<const std::byte>> pieces{length, std::as_bytes(std::span(text))};
  for (const NamedTensor* entry : order) pieces.push_back(entry->tensor.Bytes());
  WriteFileAtomically(path, pieces);
  Digester digester;
  for (std::span<const std::byte> piece : pieces) digester.Add(piece);
  return digester.Finish();
}

SafetensorsFile ReadSafetensors(const std::filesystem::path& path) {
  Source source(path);
  if (source.size() < kPrefixBytes) {
    source.Damaged("it has " + Plural(static_cast<long long>(source.size()), "byte") +
                   ", too few for the length of a header");
  }
  std::array<std::byte, kPrefixBytes> prefix;
  source.Read(prefix);
  const auto header_bytes = std::bit_cast<uint64_t>(prefix);
  if (header_bytes > kMaxHeaderBytes) {
    source.Damaged("its header would have " + std::to_string(header_bytes) +
                   " bytes, more than the format allows (100000000)");
  }
  if (header_bytes > source.size() - kPrefixBytes) {
    source.Damaged("its header would have " + std::to_string(header_bytes) +
                   " bytes, but the file has only " + std::to_string(source.size()));
  }
  std::string text(header_bytes, '\0');
  source.Read(std::as_writable_bytes(std::span(text)));
  const nlohmann::json header = ParseHeader(text, source);

  SafetensorsFile file;
  if (const auto found = header.find(kMetadataKey); found != header.end()) {
    const bool texts = found->is_object() && std::ranges::all_of(*found, [](const auto& value) {
                         return value.is_string();
                       });
    if (!texts) source.Damaged("__metadata__ is not a map of texts");
    file.metadata = found->get<std::map<std::string, std::string>>();
  }
  for (Entry& entry : ParseEntries(header, source.size() - kPrefixBytes - header_bytes, source)) {
    Tensor tensor(entry.shape, entry.dtype);
    source.Read(tensor.Bytes());
    file.tensors.push_back({std::move(entry.name), std::move(tensor)});
  }
  file.digest = source.digest();
  return file;
}

}  // namespace syncbn::train
