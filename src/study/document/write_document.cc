#include "study/document/write_document.h"

#include <cerrno>
#include <system_error>

#include "base/error.h"
#include "base/file.h"
#include "study/document/html.h"
#include "study/document/markdown.h"
#include "study/document/svg.h"

namespace syncbn::study::document {
namespace {

namespace fs = std::filesystem;

constexpr const char* kPictures = "figures";

// Returns how many there are.
int WritePictures(const Document& document, const fs::path& folder) {
  int written = 0;
  for (const Section& section : document.sections) {
    for (const Block& block : section.blocks) {
      const auto* chart = std::get_if<Chart>(&block);
      if (chart == nullptr) continue;
      if (written == 0) fs::create_directories(folder);
      WriteFileAtomically(folder / PictureName(++written), SvgFile(*chart));
    }
  }
  std::error_code gone;
  for (int more = written + 1; fs::remove(folder / PictureName(more), gone); ++more) {
  }
  if (written == 0) fs::remove(folder, gone);  // if nothing else is in it
  return written;
}

}  // namespace

void WriteDocument(const Document& document, const fs::path& folder, const std::string& name) {
  try {
    const int pictures = WritePictures(document, folder / kPictures);
    WriteFileAtomically(folder / (name + ".md"), Markdown(document, pictures > 0 ? kPictures : ""));
  } catch (const fs::filesystem_error& error) {
    errno = error.code().value();
    ThrowErrno("make the folder", folder / kPictures);
  }
  WriteFileAtomically(folder / (name + ".html"), Html(document));
}

}  // namespace syncbn::study::document
