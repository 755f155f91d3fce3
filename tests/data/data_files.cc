#include "tests/data/data_files.h"

#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <fstream>
#include <iterator>

#include "base/check.h"
#include "syncbn/v1/run.pb.h"

namespace syncbn::data {

void WriteBytes(const std::filesystem::path& path, std::span<const uint8_t> bytes) {
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(bytes.data()),
            static_cast<std::streamsize>(bytes.size()));
  out.close();
  SYNCBN_CHECK(out.good()) << "writing " << path;
}

Bytes ReadBytes(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  SYNCBN_CHECK(in.good()) << "reading " << path;
  return {std::istreambuf_iterator<char>(in), {}};
}

Bytes IdxBytes(const std::vector<uint32_t>& extents, std::span<const uint8_t> elements) {
  Bytes bytes = {0, 0, 8, static_cast<uint8_t>(extents.size())};
  for (uint32_t extent : extents) {
    for (int shift = 24; shift >= 0; shift -= 8)
      bytes.push_back(static_cast<uint8_t>(extent >> shift));
  }
  bytes.insert(bytes.end(), elements.begin(), elements.end());
  return bytes;
}

Bytes GzipBytes(std::span<const uint8_t> content) {
  z_stream stream{};
  SYNCBN_CHECK_EQ(deflateInit2(&stream, 6, Z_DEFLATED, MAX_WBITS + 16, 8, Z_DEFAULT_STRATEGY),
                  Z_OK);
  Bytes packed(deflateBound(&stream, content.size()));
  stream.next_in = const_cast<Bytef*>(content.data());
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = packed.data();
  stream.avail_out = static_cast<uInt>(packed.size());
  SYNCBN_CHECK_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  return packed;
}

Bytes PatternPixels(int64_t samples, int64_t elements) {
  Bytes pixels;
  for (int64_t s = 0; s < samples; ++s) {
    for (int64_t i = 0; i < elements; ++i) pixels.push_back(static_cast<uint8_t>(s * 7 + i));
  }
  return pixels;
}

void IdxFolder::Write() const {
  const auto side32 = static_cast<uint32_t>(side);
  const auto write = [&](const std::string& prefix, int64_t count) {
    const auto count32 = static_cast<uint32_t>(count);
    Bytes labels;
    for (int64_t i = 0; i < count; ++i) labels.push_back(static_cast<uint8_t>(i % 10));
    WriteBytes(path / (prefix + "-images-idx3-ubyte"),
               IdxBytes({count32, side32, side32}, PatternPixels(count, side * side)));
    WriteBytes(path / (prefix + "-labels-idx1-ubyte"), IdxBytes({count32}, labels));
  };
  write("train", train);
  write("t10k", test);
}

Bytes CifarRecord(std::span<const uint8_t> labels, int base) {
  Bytes record(labels.begin(), labels.end());
  for (int channel = 0; channel < 3; ++channel) {
    for (int p = 0; p < 1024; ++p) record.push_back(static_cast<uint8_t>(base + p + channel));
  }
  return record;
}

Bytes CifarRecords(int count, int first_label) {
  Bytes records;
  for (int i = 0; i < count; ++i) {
    const auto label = static_cast<uint8_t>(first_label + i);
    const Bytes record = CifarRecord(std::span(&label, 1), 10 * label);
    records.insert(records.end(), record.begin(), record.end());
  }
  return records;
}

DatasetPair MakeFromText(const std::string& spec_text, uint64_t seed) {
  v1::DataSpec spec;
  SYNCBN_CHECK(google::protobuf::TextFormat::ParseFromString(spec_text, &spec)) << spec_text;
  return MakeDataset(spec, seed);
}

Error ErrorOf(const std::string& spec_text) {
  try {
    MakeFromText(spec_text);
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "no error from " << spec_text;
  return Error(ErrorCode::kInternal, "none");
}

Dataset PatternDataset(int64_t samples, ImageShape image) {
  Dataset::Content content{.name = "pattern",
                           .split = Split::kTrain,
                           .image = image,
                           .classes = 5,
                           .images = PatternPixels(samples, image.elements()),
                           .labels = {}};
  for (int64_t i = 0; i < samples; ++i) content.labels.push_back(static_cast<int32_t>(i % 5));
  return Dataset(std::move(content));
}

}  // namespace syncbn::data
