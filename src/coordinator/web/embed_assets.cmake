# Writes FILES, a list of paths, as the C++ source OUTPUT, in which assets.h finds them:
#   cmake -DFILES="a.js;b.css" -DOUTPUT=assets.cc -P embed_assets.cmake
set(type_js "text/javascript; charset=utf-8")
set(type_css "text/css; charset=utf-8")
set(type_html "text/html; charset=utf-8")
set(type_svg "image/svg+xml")
set(texts "")
set(rows "")
set(number 0)
foreach(path ${FILES})
  file(READ "${path}" text)
  # Of files that were made smaller: where the larger are, which are not served.
  string(REGEX REPLACE "(//|/\\*)# sourceMappingURL=[^\n]*" "" text "${text}")
  get_filename_component(name "${path}" NAME)
  get_filename_component(kind "${path}" LAST_EXT)
  string(SUBSTRING "${kind}" 1 -1 kind)
  string(APPEND texts "constexpr std::string_view kText${number} = R\"embedded(${text})embedded\";\n")
  string(APPEND rows "    Asset{\"${name}\", \"${type_${kind}}\", kText${number}},\n")
  math(EXPR number "${number} + 1")
endforeach()
file(WRITE "${OUTPUT}" "#include \"coordinator/web/assets.h\"\n\n#include <array>\n\nnamespace syncbn::coordinator {\nnamespace {\n\n"
  "${texts}\nconstexpr std::array kAssets = {\n${rows}};\n\n}  // namespace\n\n"
  "std::span<const Asset> Assets() {\n  return kAssets;\n}\n\n}  // namespace syncbn::coordinator\n")
