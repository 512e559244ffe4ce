# Helpers of the top CMakeLists.txt.

# at_library(NAME HEADER LIBRARIES PACKAGE TEXT [folders of headers]): a library that is required unless
# ATELIER_FILES is OFF. at_optional() the same for one whose absence only switches something off.
# Sets NAME_INCLUDE, NAME_LIBRARY and ATELIER_HAS_NAME.
function(at_look name header libraries text)
  find_path(${name}_INCLUDE ${header} PATH_SUFFIXES ${ARGN})
  set(found "${${name}_INCLUDE}")
  if(libraries)
    find_library(${name}_LIBRARY NAMES ${libraries})
    if(NOT ${name}_LIBRARY)
      set(found "")
    endif()
  endif()
  at_found(${name} "${found}" "${text}")
  if(found)
    set(ATELIER_HAS_${name} ON PARENT_SCOPE)
  endif()
endfunction()

macro(at_library name header libraries package text)
  if(ATELIER_FILES)
    at_look(${name} ${header} "${libraries}" "${text}" ${ARGN})
  endif()
  if(ATELIER_FILES AND NOT ATELIER_HAS_${name})
    message(FATAL_ERROR "${name} was not found: install ${package}")
  endif()
endmacro()

macro(at_optional name header libraries text)
  if(ATELIER_FILES)
    at_look(${name} ${header} "${libraries}" "${text}" ${ARGN})
  endif()
endmacro()

# at_use(LAYER NAMES...): the layer sees and links those of the libraries that are there, AT_HAS_NAME tells it.
function(at_use layer)
  foreach(name ${ARGN})
    if(ATELIER_HAS_${name})
      string(TOUPPER ${name} upper)
      target_compile_definitions(atelier_${layer} PRIVATE AT_HAS_${upper})
      target_include_directories(atelier_${layer} PRIVATE ${${name}_INCLUDE})
      if(${name}_LIBRARY)
        target_link_libraries(atelier_${layer} PUBLIC ${${name}_LIBRARY})
      endif()
    endif()
  endforeach()
endfunction()

# at_drop_absent(LIST): removes the sources that stand for a library which is not there.
function(at_drop_absent list)
  set(sources ${${list}})
  foreach(row "ONEDNN|onednn\\.c$" "libwebp|_webp\\.c$" "stb|_stb\\.c$" "lcms2|_lcms\\.c$"
              "FILES|/(assembled|checkpoint|checksum|sdxl_export|sdxl_folder|sdxl_import|sdxl_load|sdxl_measure|sdxl_names|sdxl_single|sdxl_texts|sdxl_wanted|source|transfer)[a-z0-9_]*\\.c$|/sdxl\\.c$")
    string(FIND "${row}" "|" bar)
    string(SUBSTRING "${row}" 0 ${bar} name)
    math(EXPR bar "${bar} + 1")
    string(SUBSTRING "${row}" ${bar} -1 pattern)
    if(NOT ATELIER_HAS_${name})
      list(FILTER sources EXCLUDE REGEX "${pattern}")
    endif()
  endforeach()
  set(${list} ${sources} PARENT_SCOPE)
endfunction()

# at_layer(NAME [lower libraries]): the layer's folder as a static library atelier_NAME. Files of library
# variants (*_onednn.c, ...) are left out when the library is not there.
function(at_layer name)
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${name}/*.c)
  list(FILTER sources EXCLUDE REGEX "_simd\\.c$|_bf16\\.c$|_amx\\.c$")
  at_drop_absent(sources)
  if(ATELIER_SANITIZE STREQUAL thread)
    list(FILTER sources EXCLUDE REGEX "/parallel\\.c$")
  else()
    list(FILTER sources EXCLUDE REGEX "/parallel_pthread\\.c$")
  endif()
  add_library(atelier_${name} STATIC ${sources})
  target_include_directories(atelier_${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(atelier_${name} PUBLIC ${ARGN})
endfunction()

string(REGEX MATCH "x86_64|AMD64" AT_X86 "${CMAKE_SYSTEM_PROCESSOR}")
set(AT_AVX2 "-mavx2 -mfma -mf16c -mbmi -mbmi2")
set(AT_AVX512
    "${AT_AVX2} -mavx512f -mavx512bw -mavx512dq -mavx512vl -mprefer-vector-width=512")

# at_isa(LAYER LEVEL FLAGS FILES...): FILES compiled for one instruction set, AT_SIMD_LEVEL naming it.
function(at_isa layer level flags)
  if(NOT ARGN)
    return()
  endif()
  separate_arguments(flags UNIX_COMMAND "${flags}")
  add_library(atelier_${layer}_${level} OBJECT ${ARGN})
  target_include_directories(atelier_${layer}_${level} PRIVATE ${CMAKE_SOURCE_DIR})
  target_compile_definitions(atelier_${layer}_${level} PRIVATE AT_SIMD_LEVEL=${level})
  target_compile_options(atelier_${layer}_${level} PRIVATE ${flags} -O3 -Wno-psabi)
  target_sources(atelier_${layer} PRIVATE $<TARGET_OBJECTS:atelier_${layer}_${level}>)
endfunction()

# *_simd.c are compiled once per level; *_bf16.c and *_amx.c once, for what their name says.
function(at_simd_sources layer)
  file(GLOB simd CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${layer}/*_simd.c)
  file(GLOB bf16 CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${layer}/*_bf16.c)
  file(GLOB amx CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${layer}/*_amx.c)
  if(AT_X86)
    at_isa(${layer} avx512 "${AT_AVX512}" ${simd})
    at_isa(${layer} avx2 "${AT_AVX2}" ${simd})
    at_isa(${layer} avx512bf16 "${AT_AVX512} -mavx512bf16" ${bf16})
    at_isa(${layer} amx "${AT_AVX512} -mavx512bf16 -mamx-tile -mamx-bf16" ${amx})
  else()
    at_isa(${layer} simd "" ${simd})
  endif()
endfunction()

# at_emulated_amx(TARGET FILES...): FILES of tile kernels compiled on emulated tiles, into a test.
function(at_emulated_amx target)
  if(AT_X86)
    separate_arguments(flags UNIX_COMMAND "${AT_AVX512} -mavx512bf16")
    add_library(${target}_amx OBJECT ${ARGN})
    target_include_directories(${target}_amx PRIVATE ${CMAKE_SOURCE_DIR})
    target_compile_definitions(${target}_amx PRIVATE AT_SIMD_LEVEL=amx_emulated AT_TILE_EMULATED)
    target_compile_options(${target}_amx PRIVATE ${flags} -O2 -Wno-psabi)
    target_link_libraries(${target} PRIVATE ${target}_amx)
  endif()
endfunction()

# at_kernels_hash(LAYER): the layer knows the hash of the kernels' sources, made anew when one changes.
function(at_kernels_hash layer)
  set(script ${CMAKE_SOURCE_DIR}/cmake/kernels_hash.cmake)
  set(output ${CMAKE_BINARY_DIR}/kernels_hash.c)
  foreach(ending c h cu cuh def)
    file(GLOB_RECURSE some CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/*.${ending})
    list(APPEND sources ${some})
  endforeach()
  add_custom_command(OUTPUT ${output}
                     COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DOUTPUT=${output} -P ${script}
                     DEPENDS ${sources} ${script} COMMENT "the kernels' hash" VERBATIM)
  target_sources(atelier_${layer} PRIVATE ${output})
endfunction()

# at_clip_merges(LAYER): the layer knows the merges of CLIP's vocabulary, which are a file of numbers.
function(at_clip_merges layer)
  set(script ${CMAKE_SOURCE_DIR}/cmake/clip_merges.cmake)
  set(input ${CMAKE_SOURCE_DIR}/${layer}/clip_merges.bin)
  set(output ${CMAKE_BINARY_DIR}/clip_merges.c)
  add_custom_command(OUTPUT ${output} COMMAND ${CMAKE_COMMAND} -DINPUT=${input} -DOUTPUT=${output} -P ${script}
                     DEPENDS ${input} ${script} COMMENT "CLIP's merges" VERBATIM)
  target_sources(atelier_${layer} PRIVATE ${output})
endfunction()

# at_found(NAME FOUND TEXT), at_report(): the table printed at the end of configuring.
function(at_found name found text)
  set(mark "no ")
  if(found)
    set(mark "yes")
  endif()
  string(LENGTH "${name}" length)
  math(EXPR pad "12 - ${length}")
  string(REPEAT " " ${pad} spaces)
  set_property(GLOBAL APPEND PROPERTY AT_REPORT "  ${name}${spaces}${mark}  ${text}")
endfunction()

function(at_report)
  get_property(lines GLOBAL PROPERTY AT_REPORT)
  message(STATUS "Atelier ${PROJECT_VERSION}, ${CMAKE_BUILD_TYPE}, ${CMAKE_C_COMPILER_ID} ${CMAKE_C_COMPILER_VERSION}")
  foreach(line ${lines})
    message(STATUS "${line}")
  endforeach()
endfunction()
