#include "config/schema_comments.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <map>
#include <span>
#include <vector>

#include "base/check.h"
#include "config/schema_bytes.h"

namespace syncbn::config {
namespace {

namespace pb = google::protobuf;

std::string OnOneLine(const std::string& comment) {
  std::string text;
  bool blank = true;  // drops the blank after "//" and doubled ones
  for (char c : comment) {
    const bool is_blank = c == ' ' || c == '\n' || c == '\t' || c == '\r';
    if (!(is_blank && blank)) text += is_blank ? ' ' : c;
    blank = is_blank;
  }
  while (text.ends_with(' ')) text.pop_back();
  return text;
}

// Generated code has no comments: they are read from the descriptor set that protoc wrote with
// source information.
class Comments {
 public:
  Comments() {
    const std::span<const unsigned char> bytes = SchemaBytes();
    pb::FileDescriptorSet files;
    SYNCBN_CHECK(files.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
        << "the schema built into the program";
    pb::DescriptorPool pool;
    for (const pb::FileDescriptorProto& file : files.file()) {
      const pb::FileDescriptor* built = pool.BuildFile(file);
      SYNCBN_CHECK(built != nullptr) << file.name();
      for (int i = 0; i < built->message_type_count(); ++i) Add(*built->message_type(i));
      for (int i = 0; i < built->enum_type_count(); ++i) Add(*built->enum_type(i));
    }
  }

  std::string Find(const std::string& full_name) const {
    const auto it = comments_.find(full_name);
    return it == comments_.end() ? "" : it->second;
  }

 private:
  void Add(const pb::Descriptor& type) {
    AddOne(type);
    for (int i = 0; i < type.field_count(); ++i) AddOne(*type.field(i));
    for (int i = 0; i < type.nested_type_count(); ++i) Add(*type.nested_type(i));
    for (int i = 0; i < type.enum_type_count(); ++i) Add(*type.enum_type(i));
  }

  void Add(const pb::EnumDescriptor& type) {
    AddOne(type);
    for (int i = 0; i < type.value_count(); ++i) AddOne(*type.value(i));
  }

  template <typename Thing>
  void AddOne(const Thing& thing) {
    pb::SourceLocation location;
    if (!thing.GetSourceLocation(&location)) return;
    const std::string& comment =
        location.leading_comments.empty() ? location.trailing_comments : location.leading_comments;
    if (!comment.empty()) comments_[thing.full_name()] = OnOneLine(comment);
  }

  std::map<std::string, std::string> comments_;
};

}  // namespace

std::string SchemaComment(const std::string& full_name) {
  static const Comments comments;
  return comments.Find(full_name);
}

}  // namespace syncbn::config
