# Toolchain: aarch64 from Debian's cross compiler (gcc-aarch64-linux-gnu), run under qemu-user.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)

set(AT_CROSS aarch64-linux-gnu)
set(CMAKE_C_COMPILER ${AT_CROSS}-gcc)
set(CMAKE_CXX_COMPILER ${AT_CROSS}-g++)

# Headers and libraries of the target only, programs of this machine only.
set(CMAKE_FIND_ROOT_PATH /usr/${AT_CROSS})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
set(ENV{PKG_CONFIG_LIBDIR} /usr/lib/${AT_CROSS}/pkgconfig)

# -L: where the emulated program finds its C library.
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L /usr/${AT_CROSS})
