#include "train/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <limits>

#include "base/file.h"
#include "tests/support/temp_folder.h"
#include "tests/train/parts_support.h"

namespace syncbn::train {
namespace {

using testing::ElementsAre;

template <typename T>
Tensor Of(Shape shape, std::vector<T> values) {
  Tensor tensor(shape, DTypeOf<T>::kValue);
  std::ranges::copy(values, tensor.Data<T>());
  return tensor;
}

// The length of the header, the header and the data, as bytes.
std::string FileOf(const std::string& header, const std::string& data = "") {
  const uint64_t length = header.size();
  std::string file(sizeof length, '\0');
  std::memcpy(file.data(), &length, sizeof length);
  return file + header + data;
}

class SafetensorsTest : public testing::Test {
 protected:
  // What reading a file of this content says, without the path and the code.
  std::string DamageOf(const std::string& content) {
    WritePlainly(path_, content);
    const std::string error = ErrorOf([&] { ReadSafetensors(path_); });
    const std::string start = "DATA_LOSS: " + path_.string() + " is damaged: ";
    EXPECT_TRUE(error.starts_with(start)) << error;
    return error.substr(std::min(start.size(), error.size()));
  }

  TempFolder folder_;
  const std::filesystem::path path_ = folder_.path() / "t.safetensors";
};

TEST_F(SafetensorsTest, AFileIsTheseBytes) {
  const std::vector<NamedTensor> tensors{{"b", Of<uint8_t>({3}, {7, 8, 9})},
                                         {"a", Of<float>({2, 1}, {1, -2})}};
  const Digest digest = WriteSafetensors(path_, tensors, {{"format", "pt"}});
  // Wide types first; the header ends at a multiple of 8.
  const std::string header =
      R"({"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,1],"data_offsets":[0,8]},)"
      R"("b":{"dtype":"U8","shape":[3],"data_offsets":[8,11]}})";
  const std::string padding((8 - header.size() % 8) % 8, ' ');
  const std::string data("\x00\x00\x80\x3f\x00\x00\x00\xc0\x07\x08\x09", 11);
  const std::string content = ReadFile(path_);
  EXPECT_EQ(content, FileOf(header + padding, data));
  EXPECT_EQ(digest, syncbn::DigestOf(std::as_bytes(std::span(content))));
}

TEST_F(SafetensorsTest, EveryTypeComesBackBitForBit) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<NamedTensor> tensors{
      {"f32", Of<float>({2, 2}, {1.5f, -0.0f, nan, std::numeric_limits<float>::denorm_min()})},
      {"f64", Of<double>({1, 1, 1, 1, 1, 2}, {0.1, -1e308})},
      {"i32", Of<int32_t>({2}, {std::numeric_limits<int32_t>::min(), 5})},
      {"i64", Of<int64_t>({}, {std::numeric_limits<int64_t>::max()})},
      {"u8", Of<uint8_t>({5}, {0, 1, 2, 254, 255})},
      {"empty", Tensor({0, 7}, DType::kFloat32)}};
  const Digest digest = WriteSafetensors(path_, tensors, {{"a \"quoted\" key", "line\nend"}});
  const SafetensorsFile file = ReadSafetensors(path_);
  EXPECT_EQ(file.digest, digest);
  EXPECT_THAT(file.metadata, ElementsAre(testing::Pair("a \"quoted\" key", "line\nend")));
  ASSERT_EQ(file.tensors.size(), tensors.size());
  for (const NamedTensor& written : tensors) {
    const auto read = std::ranges::find(file.tensors, written.name, &NamedTensor::name);
    ASSERT_NE(read, file.tensors.end()) << written.name;
    EXPECT_EQ(read->tensor.shape(), written.tensor.shape());
    EXPECT_EQ(read->tensor.dtype(), written.tensor.dtype());
    EXPECT_TRUE(std::ranges::equal(read->tensor.Bytes(), written.tensor.Bytes())) << written.name;
  }
}

TEST_F(SafetensorsTest, NoTensorsAndNoMetadataIsAFile) {
  WriteSafetensors(path_, {}, {});
  EXPECT_EQ(ReadFile(path_), FileOf("{}      "));
  EXPECT_TRUE(ReadSafetensors(path_).tensors.empty());
}

TEST_F(SafetensorsTest, ReadsWhatAnotherWriterLaidOutDifferently) {
  // Names not in the order of the bytes, white space, no metadata, no alignment.
  WritePlainly(path_, FileOf(R"( { "z" : {"shape":[1],"data_offsets":[0,1],"dtype":"U8"} ,
                     "a":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})",
                             std::string("\x2a\x00\x00\x80\x3f", 5)));
  const SafetensorsFile file = ReadSafetensors(path_);
  EXPECT_EQ(file.tensors[0].name, "z");
  EXPECT_EQ(file.tensors[0].tensor.Data<uint8_t>()[0], 42);
  EXPECT_EQ(file.tensors[1].tensor.Data<float>()[0], 1.0f);
}

TEST_F(SafetensorsTest, AMissingFileIsNotFound) {
  EXPECT_EQ(ErrorOf([&] { ReadSafetensors(path_); }),
            "NOT_FOUND: cannot open " + path_.string() + ": No such file or directory");
  EXPECT_EQ(ErrorOf([&] { ReadSafetensors(folder_.path()); }),
            "INVALID_ARGUMENT: " + folder_.path().string() + " is a folder, not a file");
  ASSERT_EQ(::mkfifo(path_.c_str(), 0600), 0);
  EXPECT_EQ(ErrorOf([&] { ReadSafetensors(path_); }),
            "INVALID_ARGUMENT: " + path_.string() + " is a pipe, not a file");
}

TEST_F(SafetensorsTest, TwoTensorsOfOneNameAreNotWritten) {
  const std::vector<NamedTensor> tensors{{"a", Tensor({1}, DType::kUint8)},
                                         {"a", Tensor({1}, DType::kFloat32)}};
  EXPECT_THROW(WriteSafetensors(path_, tensors, {}), Error);
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(SafetensorsTest, DamageOfTheHeaderIsNamed) {
  EXPECT_EQ(DamageOf(""), "it has 0 bytes, too few for the length of a header");
  EXPECT_EQ(DamageOf("1234567"), "it has 7 bytes, too few for the length of a header");
  EXPECT_EQ(DamageOf(std::string("\x00\x00\x00\x00\x00\x00\x00\x01{}", 10)),
            "its header would have 72057594037927936 bytes, more than the format allows "
            "(100000000)");
  EXPECT_EQ(DamageOf(std::string("\x03\x00\x00\x00\x00\x00\x00\x00{}", 10)),
            "its header would have 3 bytes, but the file has only 10");
  EXPECT_EQ(DamageOf(FileOf("{\"a\"}")), "its header is not JSON (at byte 5 of the header)");
  EXPECT_EQ(DamageOf(FileOf("")), "its header is not JSON (at byte 1 of the header)");
  EXPECT_EQ(DamageOf(FileOf("{\"\xff\":1}")), "its header is not JSON (at byte 3 of the header)");
  EXPECT_EQ(DamageOf(FileOf("[1e999]")), "its header has a number that is out of range");
  EXPECT_EQ(DamageOf(FileOf("[]")), "its header is not a JSON object");
  EXPECT_EQ(DamageOf(FileOf(R"({"__metadata__":{"a":1}})")), "__metadata__ is not a map of texts");
  EXPECT_EQ(DamageOf(FileOf(R"({"__metadata__":"a"})")), "__metadata__ is not a map of texts");
}

TEST_F(SafetensorsTest, AHeaderOfMillionsOfListsInEachOtherIsDamage) {
  constexpr size_t kDeep = 1'000'000;
  const std::string deep = std::string(kDeep, '[') + std::string(kDeep, ']');
  for (const std::string entry : {R"({"dtype":DEEP,"shape":[1],"data_offsets":[0,1]})",
                                  R"({"dtype":"U8","shape":DEEP,"data_offsets":[0,1]})",
                                  R"({"dtype":"U8","shape":[1],"data_offsets":DEEP})", "DEEP"}) {
    std::string text = R"({"w":)" + entry + "}";
    text.replace(text.find("DEEP"), 4, deep);
    EXPECT_THAT(DamageOf(FileOf(text, "x")),
                testing::StartsWith("its header: it is nested too deeply"));
  }
  EXPECT_EQ(
      DamageOf(FileOf(R"({"w":{"dtype":[[["F32"]]],"shape":[1],"data_offsets":[0,1]}})", "x")),
      "tensor 'w': unknown element type [[[\"F32\"]]] (F32, F64, I32, I64, U8 or BF16)");
}

TEST_F(SafetensorsTest, DuplicateNamesAreRefused) {
  const std::string entry = R"({"dtype":"U8","shape":[1],"data_offsets":[0,1]})";
  EXPECT_EQ(DamageOf(FileOf(R"({"w":)" + entry + R"(,"w":)" + entry + "}", "x")),
            "the name 'w' is in its header twice");
  EXPECT_EQ(DamageOf(FileOf(R"({"w":{"dtype":"U8","dtype":"U8","shape":[1],"data_offsets":[0,1]}})",
                            "x")),
            "the name 'dtype' is in its header twice");
}

TEST_F(SafetensorsTest, ATypeThatIsNotReadIsNoDamage) {
  WritePlainly(path_,
               FileOf(R"({"w":{"dtype":"F16","shape":[4],"data_offsets":[0,8]}})", "12345678"));
  EXPECT_EQ(ErrorOf([&] { ReadSafetensors(path_); }),
            "INVALID_ARGUMENT: " + path_.string() +
                ": tensor 'w' is of F16, which is not read: convert it to F32 (or F64, I32, I64, "
                "U8, BF16)");
}

TEST_F(SafetensorsTest, DamageOfAnEntryIsNamed) {
  auto entry = [&](const std::string& value, const std::string& data = "12345678") {
    return DamageOf(FileOf("{\"w\":" + value + "}", data));
  };
  EXPECT_EQ(entry("7"), "tensor 'w': its entry is not a JSON object");
  EXPECT_EQ(entry(R"({"dtype":"F32","shape":[2]})"), "tensor 'w': its entry has no data_offsets");
  EXPECT_EQ(entry(R"({"dtype":"F32","shape":[2],"data_offsets":[0,8],"extra":1})"),
            "tensor 'w': its entry has more than dtype, shape and data_offsets");
  EXPECT_EQ(entry(R"({"dtype":"F17","shape":[4],"data_offsets":[0,8]})"),
            "tensor 'w': unknown element type \"F17\" (F32, F64, I32, I64, U8 or BF16)");
  EXPECT_EQ(entry(R"({"dtype":4,"shape":[2],"data_offsets":[0,8]})"),
            "tensor 'w': unknown element type 4 (F32, F64, I32, I64, U8 or BF16)");
  for (const char* shape : {"[-2]", "[2.0]", "\"2\"", "[9223372036854775808]", "[[2]]"}) {
    const std::string text = shape;
    EXPECT_EQ(entry(R"({"dtype":"F32","shape":)" + text + R"(,"data_offsets":[0,8]})"),
              "tensor 'w': the shape " + text + " is not a list of extents");
  }
  EXPECT_EQ(entry(R"({"dtype":"U8","shape":[1,1,1,1,1,1,8],"data_offsets":[0,8]})"),
            "tensor 'w': it has 7 axes, more than 6");
  EXPECT_EQ(entry(R"({"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]})"),
            "tensor 'w': the shape [4294967296,4294967296] is too large");
  EXPECT_EQ(entry(R"({"dtype":"F32","shape":[3],"data_offsets":[0,8]})"),
            "tensor 'w': shape [3] of F32 needs 12 bytes, but it has 8");
  for (const char* offsets : {"[0]", "[8,0]", "[0,8,8]", "[-1,7]", "8", "[0.0,8.0]"}) {
    const std::string text = offsets;
    EXPECT_EQ(entry(R"({"dtype":"F32","shape":[2],"data_offsets":)" + text + "}"),
              "tensor 'w': the data_offsets " + text + " are not [begin, end]");
  }
}

TEST_F(SafetensorsTest, DamageOfTheDataIsNamed) {
  EXPECT_EQ(DamageOf(FileOf(R"({"w":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", "1234")),
            "tensor 'w': it ends at byte 8 of the data, which has 4");
  EXPECT_EQ(DamageOf(FileOf(R"({"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", "12345")),
            "1 byte after the last tensor");
  EXPECT_EQ(DamageOf(FileOf("{}", "12")), "2 bytes after the last tensor");
  EXPECT_EQ(DamageOf(FileOf(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},)"
                            R"("b":{"dtype":"U8","shape":[4],"data_offsets":[3,7]}})",
                            "1234567")),
            "tensors 'a' and 'b' overlap");
  EXPECT_EQ(DamageOf(FileOf(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},)"
                            R"("b":{"dtype":"U8","shape":[2],"data_offsets":[4,6]}})",
                            "123456")),
            "bytes 2 to 4 of the data, before tensor 'b', belong to no tensor");
}

TEST_F(SafetensorsTest, EveryTruncationOfAFileIsFound) {
  const std::vector<NamedTensor> tensors{{"a", Of<float>({3}, {1, 2, 3})},
                                         {"b", Of<uint8_t>({2}, {4, 5})}};
  WriteSafetensors(path_, tensors, {{"k", "v"}});
  const std::string whole = ReadFile(path_);
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_NE(DamageOf(whole.substr(0, length)), "") << length;
  }
}

TEST_F(SafetensorsTest, EveryFlippedBitChangesTheDigestOrIsDamage) {
  const std::vector<NamedTensor> tensors{{"a", Of<float>({3}, {1, 2, 3})}};
  const Digest digest = WriteSafetensors(path_, tensors, {{"k", "v"}});
  const std::string whole = ReadFile(path_);
  for (size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string flipped = whole;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    WritePlainly(path_, flipped);
    try {
      EXPECT_NE(ReadSafetensors(path_).digest, digest) << bit;
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::kDataLoss) << bit << ": " << error.what();
    }
  }
}

}  // namespace
}  // namespace syncbn::train
