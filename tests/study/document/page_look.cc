#include "tests/study/document/page_look.h"

#include <sys/wait.h>

#include <cstdio>

namespace syncbn::study::document {

Looked Look(const std::string& how, const std::filesystem::path& folder) {
  Looked looked;
  const std::string command = "PYTHONDONTWRITEBYTECODE=1 '" SYNCBN_PYTHON "' '" SYNCBN_PAGE_TEST
                              "' " +
                              how + " '" + folder.string() + "' 2>&1";
  FILE* output = ::popen(command.c_str(), "r");
  if (output == nullptr) return looked;
  char buffer[4096];
  for (size_t size; (size = std::fread(buffer, 1, sizeof buffer, output)) > 0;)
    looked.words.append(buffer, size);
  const int status = ::pclose(output);
  looked.status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return looked;
}

}  // namespace syncbn::study::document
