// The index of a folder of images as the bytes of a file, which whoever may write beside the folder
// may have written: what it names has to lie in the folder.
#include <algorithm>
#include <cstring>
#include <span>
#include <type_traits>
#include <utility>

#include "base/digest.h"
#include "base/error.h"
#include "data/image_index.h"

namespace syncbn::data {
namespace {

// The number is that of the rules by which files are damaged, too.
constexpr std::string_view kMagic = "syncbn images 3\n";

static_assert(sizeof(IndexedImage) == 48 && std::is_trivially_copyable_v<IndexedImage>);

void Add(std::string& bytes, uint64_t number) {
  bytes.append(reinterpret_cast<const char*>(&number), sizeof(number));
}

void Add(std::string& bytes, std::string_view text) {
  Add(bytes, text.size());
  bytes += text;
}

// Takes what Add has added.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  uint64_t Number() {
    uint64_t number = 0;
    std::memcpy(&number, Take(sizeof(number)).data(), sizeof(number));
    return number;
  }
  int64_t Signed() { return static_cast<int64_t>(Number()); }
  // Of a list of parts that are `least` bytes long each.
  size_t Count(size_t least) {
    const uint64_t count = Number();
    if (count > bytes_.size() / least) Fail();
    return count;
  }
  std::string_view Take(uint64_t size) {
    if (size > bytes_.size()) Fail();
    const std::string_view taken = bytes_.substr(0, size);
    bytes_.remove_prefix(size);
    return taken;
  }
  std::string Text() { return std::string(Take(Number())); }
  [[noreturn]] static void Fail(const std::string& why = "it is damaged") {
    throw Error(ErrorCode::kDataLoss, why);
  }

 private:
  std::string_view bytes_;
};

// A name that a folder may have for an entry which a scan takes in.
bool IsEntryName(std::string_view name) {
  return !name.empty() && !name.starts_with('.') &&
         name.find_first_of(std::string_view("/\0", 2)) == std::string_view::npos;
}

// "cat/deep/1.jpg"
bool IsPath(std::string_view path) {
  for (size_t end = path.find('/'); end != std::string_view::npos; end = path.find('/')) {
    if (!IsEntryName(path.substr(0, end))) return false;
    path.remove_prefix(end + 1);
  }
  return IsEntryName(path);
}

bool IsAscending(const std::vector<std::string>& names) {
  return std::ranges::adjacent_find(names, std::ranges::greater_equal()) == names.end();
}

// Of a scan there is no other.
void CheckIsOfAScan(const ImageIndex& index) {
  if (!IsAscending(index.classes) || !std::ranges::all_of(index.classes, IsEntryName)) {
    Reader::Fail("its classes are not those of a folder");
  }
  for (size_t i = 0; i < index.folders.size(); ++i) {
    const std::string& path = index.folders[i].path;
    if (i == 0 ? !path.empty() : !IsPath(path)) Reader::Fail("it names another folder");
  }
  int32_t label = 0;
  std::string_view before;
  for (const IndexedImage& image : index.images) {
    if (image.name_begin > index.names.size() ||
        image.name_bytes > index.names.size() - image.name_begin || image.label < label ||
        image.label >= static_cast<int64_t>(index.classes.size())) {
      Reader::Fail();
    }
    const std::string_view name = index.Name(image);
    const std::string& folder = index.classes[static_cast<size_t>(image.label)];
    if (!name.starts_with(folder) || !name.substr(folder.size()).starts_with('/') ||
        !IsPath(name)) {
      Reader::Fail("it names a file that does not lie in the folder of its class");
    }
    if (image.label == label && name <= before) Reader::Fail("it names a file twice");
    label = image.label;
    before = name;
  }
  for (size_t i = 0; i < index.damaged.size(); ++i) {
    if (index.damaged[i].image >= index.images.size() ||
        (i > 0 && index.damaged[i].image <= index.damaged[i - 1].image)) {
      Reader::Fail("its damaged files are not in order");
    }
  }
}

}  // namespace

std::string ToBytes(const ImageIndex& index) {
  std::string bytes(kMagic);
  Add(bytes, static_cast<uint64_t>(index.begun));
  Add(bytes, static_cast<uint64_t>(index.other_files));
  Add(bytes, static_cast<uint64_t>(index.repeated_folders));
  Add(bytes, index.repeated.size());
  for (const std::string& line : index.repeated) Add(bytes, line);
  Add(bytes, index.classes.size());
  for (const std::string& name : index.classes) Add(bytes, name);
  Add(bytes, index.folders.size());
  for (const IndexedFolder& folder : index.folders) {
    Add(bytes, folder.path);
    Add(bytes, static_cast<uint64_t>(folder.modified));
  }
  Add(bytes, index.damaged.size());
  for (const IndexedDamage& damage : index.damaged) {
    Add(bytes, damage.image);
    Add(bytes, damage.what);
  }
  Add(bytes, index.names);
  Add(bytes, index.images.size());
  bytes.append(reinterpret_cast<const char*>(index.images.data()),
               index.images.size() * sizeof(IndexedImage));
  return bytes += DigestOf(std::as_bytes(std::span(bytes))).Hex();
}

ImageIndex FromBytes(std::string_view bytes) {
  constexpr size_t kDigest = 32;
  if (!bytes.starts_with(kMagic) || bytes.size() < kMagic.size() + kDigest) Reader::Fail();
  const std::string_view digest = bytes.substr(bytes.size() - kDigest);
  bytes.remove_suffix(kDigest);
  if (DigestOf(std::as_bytes(std::span(bytes))).Hex() != digest) Reader::Fail();
  Reader reader(bytes.substr(kMagic.size()));
  ImageIndex index;
  index.begun = reader.Signed();
  index.other_files = reader.Signed();
  index.repeated_folders = reader.Signed();
  index.repeated.resize(reader.Count(8));
  for (std::string& line : index.repeated) line = reader.Text();
  index.classes.resize(reader.Count(8));
  for (std::string& name : index.classes) name = reader.Text();
  index.folders.resize(reader.Count(16));
  for (IndexedFolder& folder : index.folders) {
    folder.path = reader.Text();
    folder.modified = reader.Signed();
  }
  index.damaged.resize(reader.Count(16));
  for (IndexedDamage& damage : index.damaged) {
    damage.image = reader.Number();
    damage.what = reader.Text();
  }
  index.names = reader.Text();
  index.images.resize(reader.Count(sizeof(IndexedImage)));
  const std::string_view images = reader.Take(index.images.size() * sizeof(IndexedImage));
  if (!images.empty()) std::memcpy(index.images.data(), images.data(), images.size());
  CheckIsOfAScan(index);
  return index;
}

}  // namespace syncbn::data
