// Serves the files of the dashboard: the page for every view, the others below a path that changes
// with their content, so that a browser asks for each once.
#pragma once

#include <map>
#include <string>

#include "coordinator/service/http_message.h"

namespace syncbn::coordinator {

class AssetServer {
 public:
  AssetServer();

  // The file, or the page, which shows a view ("/jobs/17"). Where there is neither: 404, for a
  // browser with the page, which says so and leads back.
  HttpAnswer Answer(const HttpRequest& request) const;

 private:
  struct File {
    std::string type, plain, packed;  // packed: by gzip
    std::string etag;
    bool keep = false;  // for ever
  };

  static File Make(std::string type, std::string text, bool keep);
  const File* Find(const std::string& path) const;

  std::map<std::string, File> files_;  // by path
  File page_;
};

}  // namespace syncbn::coordinator
