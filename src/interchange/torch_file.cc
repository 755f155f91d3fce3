#include "interchange/torch_file.h"

#include <zlib.h>

#include <bit>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "base/file.h"
#include "base/unknown_value.h"

namespace syncbn::interchange {
namespace {

static_assert(std::endian::native == std::endian::little,
              "elements are written as they lie in memory");

// Numbers as both formats have them: little-endian.
template <typename T>
void Append(std::string& text, T value) {
  for (size_t i = 0; i < sizeof(T); ++i) {
    text.push_back(static_cast<char>(static_cast<uint64_t>(value) >> (8 * i) & 0xff));
  }
}

// A pickle, written for the unpickler's stack; opcodes of Lib/pickletools.py.
class Pickle {
 public:
  Pickle() { text_ = "\x80\x02"; }  // PROTO 2
  void Global(std::string_view module, std::string_view name) {
    text_ += 'c';
    text_.append(module).append("\n").append(name).append("\n");
  }
  void Text(std::string_view text) {
    text_ += 'X';  // BINUNICODE
    Append(text_, static_cast<uint32_t>(text.size()));
    text_ += text;
  }
  void Number(int64_t number) {
    if (number <= std::numeric_limits<int32_t>::max()) {
      text_ += 'J';  // BININT
      Append(text_, static_cast<int32_t>(number));
    } else {
      text_ += "\x8a\x08";  // LONG1 of 8 bytes
      Append(text_, number);
    }
  }
  void Numbers(std::span<const int64_t> numbers) {
    Mark();
    for (const int64_t number : numbers) Number(number);
    Tuple();
  }
  void False() { text_ += '\x89'; }
  void Mark() { text_ += '('; }
  void Tuple() { text_ += 't'; }  // of all since the mark
  void EmptyTuple() { text_ += ')'; }
  void Call() { text_ += 'R'; }          // REDUCE: of a callable and its arguments
  void PersistentId() { text_ += 'Q'; }  // BINPERSID
  void SetItems() { text_ += 'u'; }      // of all since the mark, in the dictionary before
  void EmptyOrderedDict() {
    Global("collections", "OrderedDict");
    EmptyTuple();
    Call();
  }
  std::string Finish() { return text_ + '.'; }

 private:
  std::string text_;
};

const char* StorageOf(DType dtype) {
  switch (dtype) {
    case DType::kFloat32:
      return "FloatStorage";
    case DType::kFloat64:
      return "DoubleStorage";
    case DType::kInt32:
      return "IntStorage";
    case DType::kInt64:
      return "LongStorage";
    case DType::kUint8:
      return "ByteStorage";
    case DType::kBFloat16:
      return "BFloat16Storage";
  }
  ThrowUnknownValue("element type", static_cast<int>(dtype));
}

std::string PickleOf(std::span<const train::NamedTensor> tensors) {
  Pickle pickle;
  pickle.EmptyOrderedDict();
  pickle.Mark();
  for (size_t i = 0; i < tensors.size(); ++i) {
    const Tensor& tensor = tensors[i].tensor;
    const std::span<const int64_t> extents = tensor.shape().extents();
    std::vector<int64_t> strides(extents.size(), 1);
    for (size_t axis = extents.size(); axis-- > 1;)
      strides[axis - 1] = strides[axis] * extents[axis];
    pickle.Text(tensors[i].name);
    pickle.Global("torch._utils", "_rebuild_tensor_v2");
    pickle.Mark();  // its arguments: storage, offset, extents, strides, requires_grad, hooks
    pickle.Mark();
    pickle.Text("storage");
    pickle.Global("torch", StorageOf(tensor.dtype()));
    pickle.Text(std::to_string(i));
    pickle.Text("cpu");
    pickle.Number(tensor.elements());
    pickle.Tuple();
    pickle.PersistentId();
    pickle.Number(0);
    pickle.Numbers(extents);
    pickle.Numbers(strides);
    pickle.False();
    pickle.EmptyOrderedDict();
    pickle.Tuple();
    pickle.Call();
  }
  pickle.SetItems();
  return pickle.Finish();
}

// A zip archive: each file behind a header, and a directory of them all at the end.
class Archive {
 public:
  void Add(const std::string& name, std::span<const std::byte> bytes) {
    std::string fields;
    Append(fields, uint16_t{10});  // version needed
    Append(fields, uint16_t{0});   // flags
    Append(fields, uint16_t{0});   // stored
    Append(fields, uint16_t{0});   // time
    Append(fields, uint16_t{33});  // date: 1980-01-01, so that equal models are equal files
    Append(fields, static_cast<uint32_t>(::crc32_z(::crc32_z(0, nullptr, 0),
                                                   reinterpret_cast<const Bytef*>(bytes.data()),
                                                   bytes.size())));
    Append(fields, Sized(bytes.size()));
    Append(fields, Sized(bytes.size()));
    Append(fields, static_cast<uint16_t>(name.size()));
    Append(fields, uint16_t{0});  // extra field
    headers_.push_back("PK\x03\x04" + fields + name);

    directory_ += std::string("PK\x01\x02") + std::string("\x0a\x00", 2) + fields;
    Append(directory_, uint16_t{0});  // comment
    Append(directory_, uint16_t{0});  // disk
    Append(directory_, uint16_t{0});  // attributes
    Append(directory_, uint32_t{0});
    Append(directory_, Sized(size_));
    directory_ += name;

    contents_.push_back(bytes);
    size_ += headers_.back().size() + bytes.size();
  }

  void Write(const std::filesystem::path& path) {
    std::string end = "PK\x05\x06";
    Append(end, uint32_t{0});  // disks
    Append(end, Counted(headers_.size()));
    Append(end, Counted(headers_.size()));
    Append(end, Sized(directory_.size()));
    Append(end, Sized(size_));
    Append(end, uint16_t{0});  // comment
    std::vector<std::span<const std::byte>> pieces;
    for (size_t i = 0; i < headers_.size(); ++i) {
      pieces.push_back(std::as_bytes(std::span(headers_[i])));
      pieces.push_back(contents_[i]);
    }
    pieces.push_back(std::as_bytes(std::span(directory_)));
    pieces.push_back(std::as_bytes(std::span(end)));
    WriteFileAtomically(path, pieces);
  }

 private:
  template <typename T>
  static T Checked(uint64_t value) {
    if (value < std::numeric_limits<T>::max()) return static_cast<T>(value);
    throw Error(ErrorCode::kOutOfRange,
                "the model is too large for a file of PyTorch's (4 GiB, 65,534 tensors); "
                "safetensors have no "
                "such limit: --format safetensors");
  }
  static uint32_t Sized(uint64_t size) { return Checked<uint32_t>(size); }
  static uint16_t Counted(uint64_t count) { return Checked<uint16_t>(count); }

  std::vector<std::string> headers_;
  std::vector<std::span<const std::byte>> contents_;
  std::string directory_;
  uint64_t size_ = 0;
};

}  // namespace

void WriteTorchFile(const std::filesystem::path& path,
                    std::span<const train::NamedTensor> tensors) {
  const std::string pickle = PickleOf(tensors), version = "3\n";
  Archive archive;
  archive.Add("archive/data.pkl", std::as_bytes(std::span(pickle)));
  for (size_t i = 0; i < tensors.size(); ++i) {
    archive.Add("archive/data/" + std::to_string(i), tensors[i].tensor.Bytes());
  }
  archive.Add("archive/version", std::as_bytes(std::span(version)));
  archive.Write(path);
}

}  // namespace syncbn::interchange
