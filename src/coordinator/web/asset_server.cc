#include "coordinator/web/asset_server.h"

#include <zlib.h>

#include <array>

#include "base/check.h"
#include "coordinator/control/secret.h"
#include "coordinator/web/assets.h"

namespace syncbn::coordinator {
namespace {

constexpr const char* kPage = "index.html";
constexpr const char* kFolderInPage = "ASSETS";  // where the page names the folder of the files
constexpr const char* kFiles = "/assets/";
constexpr std::array kViews = {"/jobs", "/compare", "/studies", "/hosts"};

std::string Hex(const std::string& bytes) {
  std::string text;
  for (const unsigned char byte : bytes) {
    text += "0123456789abcdef"[byte >> 4];
    text += "0123456789abcdef"[byte & 15];
  }
  return text;
}

std::string Pack(const std::string& text) {
  z_stream stream{};
  constexpr int kGzip = 15 + 16;
  SYNCBN_CHECK(
      deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, kGzip, 9, Z_DEFAULT_STRATEGY) == Z_OK)
      << "no memory is left";
  std::string packed(deflateBound(&stream, text.size()) + 32, '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
  stream.avail_in = static_cast<uInt>(text.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  const int result = deflate(&stream, Z_FINISH);
  packed.resize(stream.total_out);
  deflateEnd(&stream);
  SYNCBN_CHECK(result == Z_STREAM_END) << "gzip ends with " << result;
  return packed;
}

}  // namespace

AssetServer::File AssetServer::Make(std::string type, std::string text, bool keep) {
  File file{.type = std::move(type), .plain = std::move(text), .keep = keep};
  file.packed = Pack(file.plain);
  file.etag = "\"" + Hex(HashSecret(file.plain)).substr(0, 32) + "\"";
  return file;
}

AssetServer::AssetServer() {
  std::string all;
  for (const Asset& asset : Assets()) all.append(asset.name).append(asset.text);
  const std::string folder = kFiles + Hex(HashSecret(all)).substr(0, 16);
  for (const Asset& asset : Assets()) {
    if (asset.name != kPage) {
      files_.emplace(folder + "/" + std::string(asset.name),
                     Make(std::string(asset.type), std::string(asset.text), true));
      continue;
    }
    std::string page(asset.text);
    for (size_t at = 0; (at = page.find(kFolderInPage, at)) != std::string::npos;)
      page.replace(at, std::string(kFolderInPage).size(), folder);
    page_ = Make(std::string(asset.type), page, false);
  }
}

const AssetServer::File* AssetServer::Find(const std::string& path) const {
  const auto found = files_.find(path);
  if (found != files_.end()) return &found->second;
  if (path == "/") return &page_;
  for (const std::string view : kViews) {
    if (path == view || path.starts_with(view + "/")) return &page_;
  }
  return nullptr;
}

HttpAnswer AssetServer::Answer(const HttpRequest& request) const {
  const File* file = Find(request.path);
  const std::string* wants = request.Header("accept");
  const bool people = wants != nullptr && wants->find("text/html") != std::string::npos;
  if (file == nullptr && (!people || request.path.starts_with(kFiles)))
    return {.status = 404, .body = "there is no such page\n"};
  const bool found = file != nullptr;
  if (!found) file = &page_;
  HttpAnswer answer{.status = found ? 200 : 404, .type = file->type};
  answer.headers = {
      {"ETag", file->etag},
      {"Vary", "Accept-Encoding"},
      {"Cache-Control", file->keep ? "public, max-age=31536000, immutable" : "no-cache"}};
  const std::string* known = request.Header("if-none-match");
  if (found && known != nullptr && known->find(file->etag) != std::string::npos) {
    answer.status = 304;
    return answer;
  }
  const std::string* takes = request.Header("accept-encoding");
  const bool packed = takes != nullptr && takes->find("gzip") != std::string::npos;
  if (packed) answer.headers.emplace_back("Content-Encoding", "gzip");
  answer.body = packed ? file->packed : file->plain;
  return answer;
}

}  // namespace syncbn::coordinator
