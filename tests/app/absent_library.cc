// A library that a program is linked with and does not find.
extern "C" int AbsentAnswer() {
  return 42;
}
