# Writes the bytes of INPUT as the C++ source OUTPUT:
#   cmake -DINPUT=schema.binpb -DOUTPUT=schema_bytes.cc -P embed_schema.cmake
file(READ ${INPUT} hex HEX)
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
set(byte "0x[0-9a-f][0-9a-f],")
set(line "${byte}${byte}${byte}${byte}${byte}${byte}${byte}${byte}")
string(REGEX REPLACE "(${line}${line})" "\\1\n" bytes "${bytes}")
file(WRITE ${OUTPUT} "#include \"config/schema_bytes.h\"

namespace syncbn::config {
namespace {
constexpr unsigned char kBytes[] = {
${bytes}};
}  // namespace

std::span<const unsigned char> SchemaBytes() { return kBytes; }

}  // namespace syncbn::config
")
