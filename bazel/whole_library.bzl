"""whole_library: one static and one shared library out of many cc_library targets, to install."""

def _whole_archive_implementation(ctx):
    archives = {}
    for dep in ctx.attr.deps:
        for input in dep[CcInfo].linking_context.linker_inputs.to_list():
            for library in input.libraries:
                # What goes into a shared library has to be position independent.
                archives[library.pic_static_library or library.static_library] = True
    libraries = archives.keys()
    output = ctx.actions.declare_file("lib" + ctx.attr.library + "_whole.a")
    script = ["create " + output.path]
    script += ["addlib " + library.path for library in libraries]
    script += ["save", "end"]
    script_file = ctx.actions.declare_file(ctx.label.name + ".mri")
    ctx.actions.write(script_file, "\n".join(script) + "\n")
    ctx.actions.run_shell(
        command = "ar -M <" + script_file.path,
        inputs = libraries + [script_file],
        outputs = [output],
        mnemonic = "WholeArchive",
    )
    return [DefaultInfo(files = depset([output]))]

_whole_archive = rule(
    implementation = _whole_archive_implementation,
    attrs = {
        "deps": attr.label_list(providers = [CcInfo]),
        "library": attr.string(mandatory = True),
    },
    doc = "All objects of deps, and of what they depend on, in one archive.",
)

def _hidden_archive_implementation(ctx):
    output = ctx.actions.declare_file("lib" + ctx.attr.library + ".a")
    ctx.actions.run(
        executable = ctx.executable._hide,
        arguments = [ctx.file.archive.path, ctx.file.exports.path, output.path],
        inputs = [ctx.file.archive, ctx.file.exports],
        outputs = [output],
        mnemonic = "HideInternals",
        use_default_shell_env = True,
    )
    return [DefaultInfo(files = depset([output]))]

_hidden_archive = rule(
    implementation = _hidden_archive_implementation,
    attrs = {
        "archive": attr.label(allow_single_file = True),
        "exports": attr.label(allow_single_file = True),
        "library": attr.string(mandatory = True),
        "_hide": attr.label(
            default = "//bazel:hide_internals.sh",
            allow_single_file = True,
            cfg = "host",
            executable = True,
        ),
    },
    doc = "The archive, in which only what exports shows keeps its name.",
)

def whole_library(name, deps, soname, exports, system_deps, visibility = None):
    """Makes lib<name>.a and the shared library `soname`.

    Args:
      name: of the library, as in -l<name>; also of a filegroup of both files.
      deps: cc_library targets; what they depend on goes in as well, system libraries do not.
      soname: file name of the shared library.
      exports: a linker version script: which symbols the shared library shows, and which keep their
        names in the static one.
      system_deps: system libraries that the shared library links.
      visibility: of the filegroup.
    """
    _whole_archive(
        name = name + "_whole_archive",
        library = name,
        deps = deps,
    )
    _hidden_archive(
        name = name + "_archive",
        archive = ":" + name + "_whole_archive",
        exports = exports,
        library = name,
    )
    native.cc_import(
        name = name + "_whole",
        static_library = ":" + name + "_whole_archive",
        alwayslink = True,
    )
    native.cc_binary(
        name = soname,
        additional_linker_inputs = [exports],
        linkopts = [
            "-Wl,-soname," + soname,
            "-Wl,--version-script,$(location {})".format(exports),
            "-Wl,-z,defs",
        ],
        linkshared = True,
        deps = [":" + name + "_whole"] + system_deps,
    )
    native.filegroup(
        name = name,
        srcs = [name + "_archive", soname],
        visibility = visibility,
    )
