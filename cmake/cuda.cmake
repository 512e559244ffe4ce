# cuda.cmake -- kernels/*.cu as real CUDA, where a toolkit is found. Sets ATELIER_HAS_CUDA.
#
# nvcc is called by hand, not as one of CMake's languages: a file's name decides its architectures, what the
# compiler says of registers is kept (nvcc-object), and CMake's own check would fail the configuration of a
# machine whose toolkit is broken.
set(ATELIER_CUDA AUTO CACHE STRING "Build the CUDA kernels: AUTO, ON, OFF")
set(AT_NVCC_FLAGS -std=c++17 -O2 -I${CMAKE_SOURCE_DIR} -Werror all-warnings
    -Xcompiler -Wall,-Wextra,-fPIC,-fvisibility=hidden,-fno-exceptions,-fno-threadsafe-statics) # links as C
set(AT_NVCC_ANY -gencode=arch=compute_80,code=sm_80 -gencode=arch=compute_90,code=sm_90
    -gencode=arch=compute_80,code=compute_80)
set(AT_NVCC_SM90A -gencode=arch=compute_90a,code=sm_90a) # *_sm90a.cu: Hopper's own instructions

if(NOT ATELIER_CUDA STREQUAL OFF AND NOT CMAKE_CROSSCOMPILING AND NOT ATELIER_SANITIZE)
  find_program(NVCC nvcc HINTS ENV CUDA_HOME PATHS /usr/local/cuda PATH_SUFFIXES bin)
  if(NVCC)
    get_filename_component(toolkit ${NVCC} REALPATH)
    get_filename_component(toolkit ${toolkit} DIRECTORY)
    get_filename_component(toolkit ${toolkit} DIRECTORY)
    find_library(CUDART_STATIC cudart_static HINTS ${toolkit}/lib64 ${toolkit}/targets/x86_64-linux/lib)
  endif()
  if(NVCC AND CUDART_STATIC)
    set(ATELIER_HAS_CUDA ON)
  endif()
endif()
if(ATELIER_CUDA STREQUAL ON AND NOT ATELIER_HAS_CUDA)
  message(FATAL_ERROR "ATELIER_CUDA is ON, but nvcc or libcudart_static.a was not found: set CUDA_HOME")
endif()
at_found(CUDA "${ATELIER_HAS_CUDA}" "kernels for NVIDIA GPUs (none are needed to build or to start)")

# at_nvcc(OBJECTS FILES...): OBJECTS becomes the list of the files' objects, all in one folder.
function(at_nvcc objects)
  set(list)
  foreach(file ${ARGN})
    file(RELATIVE_PATH path ${CMAKE_SOURCE_DIR} ${file})
    string(REPLACE "/" "_" object "${path}")
    set(object ${CMAKE_BINARY_DIR}/cuda/${object}.o)
    set(arch ${AT_NVCC_ANY})
    if(file MATCHES "_sm90a\\.cu$")
      set(arch ${AT_NVCC_SM90A})
    endif()
    add_custom_command(OUTPUT ${object} BYPRODUCTS ${object}.kernels
                       COMMAND ${CMAKE_SOURCE_DIR}/cmake/nvcc-object ${object} ${file} ${NVCC}
                               ${AT_NVCC_FLAGS} ${arch} -MD -MF ${object}.d
                       DEPENDS ${file} ${CMAKE_SOURCE_DIR}/cmake/nvcc-object
                       DEPFILE ${object}.d COMMENT "nvcc ${path}" VERBATIM)
    list(APPEND list ${object})
  endforeach()
  set(${objects} ${list} PARENT_SCOPE)
endfunction()

# at_cuda_sources(LAYER): the layer's *.cu become part of it, and its C files know (AT_HAS_CUDA).
function(at_cuda_sources layer)
  if(NOT ATELIER_HAS_CUDA)
    return()
  endif()
  file(MAKE_DIRECTORY ${CMAKE_BINARY_DIR}/cuda)
  execute_process(COMMAND ${NVCC} --version OUTPUT_VARIABLE version)
  string(REGEX MATCH "release [0-9.]+, V[0-9.]+" version "${version}")
  file(WRITE ${CMAKE_BINARY_DIR}/cuda/compiler.txt "nvcc ${version}\n")
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${layer}/*.cu)
  at_nvcc(objects ${sources})
  set_source_files_properties(${objects} PROPERTIES EXTERNAL_OBJECT ON GENERATED ON)
  target_sources(atelier_${layer} PRIVATE ${objects})
  target_compile_definitions(atelier_${layer} PRIVATE AT_HAS_CUDA)
  target_link_libraries(atelier_${layer} PUBLIC ${CUDART_STATIC} rt ${CMAKE_DL_LIBS})
endfunction()
