# Writes the text files of FOLDER that every report holds as the C++ source OUTPUT:
#   cmake -DFOLDER=src/study/document -DOUTPUT=text_files.cc -P embed_text.cmake
set(source "#include \"study/document/text_files.h\"\n\nnamespace syncbn::study::document {\n\n")
foreach(part "ChartStyle|chart.css" "PageStyle|page.css" "PageScript|page.js")
  string(REPLACE "|" ";" part "${part}")
  list(GET part 0 function)
  list(GET part 1 file)
  file(READ ${FOLDER}/${file} text)
  string(APPEND source "std::string_view ${function}() {\n  return R\"embedded(${text})embedded\";\n}\n\n")
endforeach()
file(WRITE ${OUTPUT} "${source}}  // namespace syncbn::study::document\n")
