// A file of records as TensorFlow writes them (TFRecord), each with its length and two checksums.
//
// https://www.tensorflow.org/tutorials/load_data/tfrecord, "TFRecords format details".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace syncbn::app {

// CRC-32C (Castagnoli, RFC 3720 B.4). Written out here: Debian 12 packages no library of it, and
// zlib has another polynomial. A byte at a time is enough: a step has some hundred.
uint32_t Crc32c(std::string_view bytes);

// u64 length, masked u32 of it, the bytes, masked u32 of them, all little-endian.
std::string FramedRecord(std::string_view bytes);

}  // namespace syncbn::app
