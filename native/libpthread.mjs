// For binding.gyp: prints the option by which a program needs libpthread also if no symbol of it is used, as with a glibc
// that has its functions in libc; nothing if the C library is not glibc.
process.report.excludeNetwork = true;
if (process.report.getReport().header.glibcVersionRuntime !== undefined)
  console.log('-Wl,--push-state,--no-as-needed -l:libpthread.so.0 -Wl,--pop-state');
