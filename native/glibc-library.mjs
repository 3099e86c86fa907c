// For binding.gyp: prints the linker option that makes a program need a library of glibc even if it uses none of its
// symbols, which is so with a glibc that has them in libc. Prints nothing if the C library is not glibc.
process.report.excludeNetwork = true;
if (process.report.getReport().header.glibcVersionRuntime !== undefined)
  console.log(`-Wl,--push-state,--no-as-needed -l:${process.argv[2]} -Wl,--pop-state`);
