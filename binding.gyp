# What native/build.mjs compiles: the addon and the small programs, from the one list of files in native/sources.json. They
# are also what the package brings prebuilt (docs/install.md).
{
  "variables": {
    "sources_of": "node native/sources.mjs",
    # For programs with threads. Only glibc has it, empty since 2.34; older ones have threads in it (native/glibc).
    "libpthread": "<!(node native/libpthread.mjs)",
  },
  "target_defaults": {
    "include_dirs": ["native"],
    # Warnings are for the development builds (CMake): at -O3, gcc 12 sees some that are not there.
    # By default gcc lets a dozen files in one grow by too little to inline what the hot path calls: a get would cost a
    # twentieth more.
    "cflags_cc": ["-std=c++20", "-w", "-ffunction-sections", "-fdata-sections", "--param=inline-unit-growth=200"],
    # Of the core and of the C++ runtime a program has what it uses; Node's own options keep all, for its addons to find.
    # The C++ runtime is in each: the system's may be older than the compiler, a container may have none, and to load it
    # would take a third of the start of a program.
    "ldflags": ["-Wl,--gc-sections", "-static-libstdc++", "-static-libgcc"],
    "ldflags!": ["-rdynamic"],
    "cflags!": ["-fno-exceptions"],
    "cflags_cc!": ["-fno-exceptions", "-fno-rtti", "-std=gnu++17", "-std=gnu++20"],
    "defines": ["WIREUP_VERSION=\"<!(node -p \"require('./package.json').version\")\""],
  },
  "targets": [
    {
      "target_name": "core",
      "type": "static_library",
      "cflags": ["-fPIC"],
      "sources": ["<!@(<(sources_of) wire engine os runtime)"],
    },
    {
      "target_name": "wireup",
      "dependencies": ["core"],
      "sources": ["<!@(<(sources_of) addon glibc)"],
      "include_dirs": ["<!(node -p \"require('node-addon-api').include_dir\")"],
      # No exception may reach Node, also from what it calls back. Notices may be under way to a worker that is being terminated, where no JavaScript runs: that is no fatal error.
      "ldflags": ["-Wl,--version-script=<(module_root_dir)/native/addon/exports.map"],
      "defines": ["NAPI_VERSION=8", "NODE_ADDON_API_CPP_EXCEPTIONS_ALL", "NAPI_CPP_EXCEPTIONS", "NODE_API_SWALLOW_UNTHROWABLE_EXCEPTIONS"],
    },
    {
      "target_name": "wireup-agent",
      "type": "executable",
      "dependencies": ["core"],
      "sources": ["<!@(<(sources_of) agent glibc)"],
    },
    {
      "target_name": "wireup-exec",
      "type": "executable",
      "dependencies": ["core"],
      "sources": ["<!@(<(sources_of) client exec glibc)"],
      "libraries": ["<(libpthread)"],
    },
    # The commands wireup and mpiexec.wireup: native/build.mjs puts it where npm has linked them to.
    {
      "target_name": "wireup-start",
      "type": "executable",
      "dependencies": ["core"],
      "sources": ["<!@(<(sources_of) start glibc)"],
    },
    # What `wireup bench` measures with: nothing of the core is in them.
    {
      "target_name": "wireup-bench",
      "type": "executable",
      "sources": ["<!@(<(sources_of) bench glibc)"],
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
      # Any C program may load it, and none may unload it while a look-up of a name is under way.
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
      # As libpmi.
      "libraries": ["<(libpthread)"],
      "ldflags": [
        "-Wl,-z,nodelete",
        "-Wl,--version-script=<(module_root_dir)/native/tools/libpmi2/exports.map",
      ],
    },
  ],
}
