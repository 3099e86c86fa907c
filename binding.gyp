# The build of native/build.mjs: the addon and the small programs, from the list of files in native/sources.json. They
# are also the prebuilt binaries of the package (docs/install.md).
{
  "variables": {
    "sources_of": "node native/sources.mjs",
    # For programs with threads. Only glibc has this library. It is empty since 2.34; earlier versions have the threads
    # in it (native/glibc).
    "libpthread": "<!(node native/glibc-library.mjs libpthread.so.0)",
    # The same for programs that open libraries: libzmq, which has threads.
    "libdl": "<!(node native/glibc-library.mjs libdl.so.2)",
  },
  "target_defaults": {
    "include_dirs": ["native"],
    # Only the development builds (CMake) have warnings: at -O3, gcc 12 reports false ones. -Os, in place of Node's -O3:
    # what is not called for each request is small rather than fast, because a tool that starts maps and reads all of
    # it (docs/performance.md).
    "cflags_cc": ["-std=c++20", "-w", "-ffunction-sections", "-fdata-sections", "-Os"],
    # A program links only those functions of the core and of the C++ runtime that it uses; Node's own options keep all
    # of them for its addons. The C++ runtime is linked statically: that of the system may be older than the compiler, a
    # container may have none, and loading it would take a third of the start of a program.
    "ldflags": ["-Wl,--gc-sections", "-static-libstdc++", "-static-libgcc"],
    "ldflags!": ["-rdynamic"],
    "cflags!": ["-fno-exceptions"],
    "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20"],
    "defines": ["WIREUP_VERSION=\"<!(node -p \"require('./package.json').version\")\""],
  },
  "targets": [
    # What each request of a rank passes. By default gcc does not let a file that includes a dozen others grow enough to
    # inline the functions that are called most, and a get costs 5 % more.
    {
      "target_name": "requests",
      "type": "static_library",
      "cflags": ["-fPIC"],
      "cflags_cc!": ["-Os"],
      "cflags_cc": ["--param=inline-unit-growth=200"],
      "sources": ["<!@(<(sources_of) --requests wire engine os runtime)"],
    },
    {
      "target_name": "core",
      "type": "static_library",
      "dependencies": ["requests"],
      "cflags": ["-fPIC"],
      "sources": ["<!@(<(sources_of) wire engine os runtime)"],
    },
    {
      "target_name": "wireup",
      "dependencies": ["core"],
      "sources": ["<!@(<(sources_of) addon glibc)"],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      # Node unloads the addon of a worker that ends. The thread of a late name lookup may still run its code
      # (nodelete).
      "ldflags": ["-Wl,-z,nodelete", "-Wl,--version-script=<(module_root_dir)/native/addon/exports.map"],
      # No exception may reach Node, also none from a JavaScript function that the addon calls. While a worker is
      # terminated, events may be queued for it although no JavaScript can run. That is no fatal error.
      "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_CPP_EXCEPTIONS_ALL", "NAPI_CPP_EXCEPTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
    },
    {
      "target_name": "wireup-agent",
      "type": "executable",
      "dependencies": ["core"],
      "sources": ["<!@(<(sources_of) agent glibc)"],
      "libraries": ["<(libdl)", "<(libpthread)"],
    },
    {
      "target_name": "wireup-exec",
      "type": "executable",
      "dependencies": ["core"],
      "sources": ["<!@(<(sources_of) client exec glibc)"],
      "libraries": ["<(libpthread)"],
    },
    # `wireup tap`.
    {
      "target_name": "wireup-tap",
      "type": "executable",
      "dependencies": ["core"],
      "sources": ["<!@(<(sources_of) client tap glibc)"],
      "libraries": ["<(libpthread)"],
    },
    # The commands wireup and mpiexec.wireup. native/build.mjs copies it to the files that npm has linked.
    {
      "target_name": "wireup-start",
      "type": "executable",
      "dependencies": ["core"],
      "sources": ["<!@(<(sources_of) start glibc)"],
    },
    # The programs with which `wireup bench` measures. The client contains nothing of the core.
    {
      "target_name": "wireup-bench",
      "type": "executable",
      "dependencies": ["core"],
      "sources": ["<!@(<(sources_of) bench glibc)"],
      "libraries": ["<(libdl)", "<(libpthread)"],
    },
    {
      "target_name": "wireup-bench-client",
      "type": "executable",
      "sources": ["<!@(<(sources_of) bench_client glibc)"],
    },
    {
      "target_name": "pmi",
      "type": "shared_library",
      "product_name": "libpmi",
      "product_extension": "so.0",
      "product_dir": "<(PRODUCT_DIR)",
      "dependencies": ["core"],
      "sources": ["<!@(<(sources_of) client libpmi glibc)"],
      "include_dirs": ["native/tools/libpmi/include"],
      "cflags": ["-fPIC"],
      # Any C program may load it. A program must not unload it during a name lookup (nodelete).
      "libraries": ["<(libpthread)"],
      "ldflags": [
        "-Wl,-z,nodelete",
        "-Wl,--version-script=<(module_root_dir)/native/tools/libpmi/exports.map",
      ],
    },
    {
      "target_name": "pmi2",
      "type": "shared_library",
      "product_name": "libpmi2",
      "product_extension": "so.0",
      "product_dir": "<(PRODUCT_DIR)",
      "dependencies": ["core"],
      "sources": ["<!@(<(sources_of) client libpmi2 glibc)"],
      "include_dirs": ["native/tools/libpmi/include"],
      "cflags": ["-fPIC"],
      # As for libpmi.
      "libraries": ["<(libpthread)"],
      "ldflags": [
        "-Wl,-z,nodelete",
        "-Wl,--version-script=<(module_root_dir)/native/tools/libpmi2/exports.map",
      ],
    },
  ],
}
