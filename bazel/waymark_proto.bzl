"""waymark_proto_library: from .proto files to C messages and typed RPC stubs.

For every `waymark_proto_library(name = "geo", ...)` there are

    :geo                 messages (x.pb-c.h) and method tables (x.methods.h)
    :geo_client          client stubs (x.client.h), on top of //client
    :geo_server          server stubs (x.server.h), on top of //server/rpc
    :geo_descriptor_set  the FileDescriptorSet with all imports, for server reflection
    :geo_protos          the sources, what other waymark_proto_libraries depend on
    :geo_client_headers  x.pb-c.h and x.client.h, what an installed SDK has of them

_client and _server exist when there are services, that is, when a source is named *_service.proto
or is listed in `services`.

Sources are imported by their path below /proto (/tests/proto for those of tests), or below their
repository for protos of the system, and headers are included by the same path: "waymark/geo/v1/geo.pb-c.h".
"""

WaymarkProtoInfo = provider(
    doc = "Proto sources and everything they import.",
    fields = {
        "sources": "depset of files, direct and transitive",
        "direct": "list of files",
    },
)

_OUR_ROOT = "proto"
_TEST_ROOT = "tests/proto"
_SYSTEM_ROOT = "external/protoc"
_ROOTS = [_OUR_ROOT, _TEST_ROOT, _SYSTEM_ROOT]

def _import_path(file):
    """The path by which other protos import this file."""
    for root in _ROOTS:
        if file.path.startswith(root + "/"):
            return file.path[len(root) + 1:]
    fail("{} is neither below /proto or /tests/proto nor a proto of the system".format(file.path))

def _output_root(proto):
    """Below which directory of the output tree what is made of `proto` lands."""
    return _TEST_ROOT if proto.path.startswith(_TEST_ROOT + "/") else _OUR_ROOT

def _protos_implementation(ctx):
    direct = ctx.files.srcs
    sources = depset(direct, transitive = [d[WaymarkProtoInfo].sources for d in ctx.attr.deps])
    return [
        WaymarkProtoInfo(sources = sources, direct = direct),
        DefaultInfo(files = depset(direct)),
    ]

_waymark_protos = rule(
    implementation = _protos_implementation,
    attrs = {
        "deps": attr.label_list(providers = [WaymarkProtoInfo]),
        "srcs": attr.label_list(allow_files = [".proto"]),
    },
    doc = "A set of protos that import each other and those of deps.",
)

def _declare(ctx, proto, suffix):
    """Declares what protoc makes of `proto`; it lands beside it in the output tree."""
    path = _output_root(proto) + "/" + _import_path(proto)[:-len(".proto")] + suffix
    package = ctx.label.package + "/"
    if not path.startswith(package):
        fail("{} belongs into a package above it, not into {}".format(proto.path, ctx.label.package))
    return ctx.actions.declare_file(path[len(package):])

def _run_protoc(ctx, info, protos, outputs, options, tools, mnemonic):
    arguments = ctx.actions.args()
    for root in _ROOTS:
        # protoc warns of a root that the sandbox has no file of.
        if [f for f in info.sources.to_list() if f.path.startswith(root + "/")]:
            arguments.add("-I" + root)
    arguments.add_all(options)
    arguments.add_all([_import_path(p) for p in protos])
    ctx.actions.run(
        executable = ctx.executable._protoc,
        arguments = [arguments],
        inputs = info.sources,
        tools = tools,
        outputs = outputs,
        mnemonic = mnemonic,
        progress_message = "Generating {} of {}".format(mnemonic, ctx.label),
    )

def _generate_implementation(ctx):
    info = ctx.attr.protos[WaymarkProtoInfo]
    protos = info.direct
    if ctx.attr.only:
        protos = [p for p in info.direct if p.basename in ctx.attr.only]
        if len(protos) != len(ctx.attr.only):
            fail("services must be among srcs: {}".format(ctx.attr.only))
    outputs = [_declare(ctx, p, suffix) for p in protos for suffix in ctx.attr.suffixes]
    options = [o.replace("$PROTOC_GEN_C", ctx.executable._protoc_gen_c.path) for o in ctx.attr.options]
    _run_protoc(
        ctx,
        info,
        protos,
        outputs,
        [
            "--plugin=protoc-gen-{}={}".format(ctx.attr.language, ctx.executable.plugin.path),
            "--{}_out={}/{}".format(ctx.attr.language, ctx.bin_dir.path, _output_root(protos[0])),
        ] + ["--{}_opt={}".format(ctx.attr.language, o) for o in options],
        [ctx.executable.plugin, ctx.executable._protoc_gen_c],
        "Proto" + ctx.attr.language.replace("-", "").upper(),
    )

    # One output group per kind of file, so that one action feeds several cc_libraries.
    groups = {}
    for suffix in ctx.attr.suffixes:
        group = suffix.strip(".").replace(".", "_").replace("-", "_")
        groups[group] = depset([f for f in outputs if f.basename.endswith(suffix)])
    return [DefaultInfo(files = depset(outputs)), OutputGroupInfo(**groups)]

_waymark_generate = rule(
    implementation = _generate_implementation,
    attrs = {
        "language": attr.string(mandatory = True, doc = "protoc's name of the plugin's output"),
        "options": attr.string_list(doc = "Of the plugin; $PROTOC_GEN_C is a program's path"),
        "only": attr.string_list(doc = "Base names of the protos to generate for; all when empty"),
        "plugin": attr.label(mandatory = True, executable = True, cfg = "host", allow_single_file = True),
        "protos": attr.label(mandatory = True, providers = [WaymarkProtoInfo]),
        "suffixes": attr.string_list(mandatory = True, doc = "What comes out for each FOO.proto"),
        "_protoc": attr.label(
            default = "@protoc//:protoc",
            executable = True,
            cfg = "host",
            allow_single_file = True,
        ),
        "_protoc_gen_c": attr.label(
            default = "@protoc//:protoc-gen-c",
            executable = True,
            cfg = "host",
            allow_single_file = True,
        ),
    },
    output_to_genfiles = False,
    doc = "Runs protoc with one plugin.",
)

def _descriptor_set_implementation(ctx):
    infos = [p[WaymarkProtoInfo] for p in ctx.attr.protos]
    output = ctx.actions.declare_file(ctx.label.name + ".binpb")
    _run_protoc(
        ctx,
        WaymarkProtoInfo(sources = depset(transitive = [i.sources for i in infos]), direct = []),
        [file for i in infos for file in i.direct],
        [output],
        ["--include_imports", "--descriptor_set_out=" + output.path],
        [],
        "ProtoDescriptorSet",
    )
    return [DefaultInfo(files = depset([output]))]

_waymark_descriptor_set = rule(
    implementation = _descriptor_set_implementation,
    attrs = {
        "protos": attr.label_list(mandatory = True, providers = [WaymarkProtoInfo]),
        "_protoc": attr.label(
            default = "@protoc//:protoc",
            executable = True,
            cfg = "host",
            allow_single_file = True,
        ),
    },
    doc = "A serialized google.protobuf.FileDescriptorSet with all imports.",
)

def _suffixed(label, suffix):
    """//a/b -> //a/b:b_suffix, //a:b -> //a:b_suffix, :b -> :b_suffix"""
    if ":" not in label:
        label = label + ":" + label.split("/")[-1]
    return label + suffix

def waymark_descriptor_set(name, deps, visibility = None):
    """One FileDescriptorSet (name.binpb) of several waymark_proto_library targets.

    Args:
      name: of the target and the file.
      deps: waymark_proto_library targets.
      visibility: as usual.
    """
    _waymark_descriptor_set(
        name = name,
        protos = [_suffixed(d, "_protos") for d in deps],
        visibility = visibility,
    )

def _output_group(name, generated, group, tags):
    native.filegroup(name = name, srcs = [generated], output_group = group, tags = tags)
    return ":" + name

def waymark_proto_library(
        name,
        srcs,
        deps = [],
        option_deps = [],
        services = None,
        plain = False,
        visibility = None,
        tags = []):
    """Messages and stubs of some protos; see the top of this file.

    Args:
      name: of the message library, and the stem of the others.
      srcs: .proto files of this package (or of @protoc).
      deps: other waymark_proto_library targets whose protos these import.
      option_deps: the same, of imports that bring only options: C code knows nothing of them.
      plain: make messages by protoc-gen-c itself; for the protos that our generator is made of.
      services: base names of the srcs that define services; default: those named *_service.proto.
      visibility: of all targets made.
      tags: of all targets made.
    """
    if services == None:
        services = [s.split("/")[-1].lstrip(":") for s in srcs if s.endswith("_service.proto")]

    protos = name + "_protos"
    _waymark_protos(
        name = protos,
        srcs = srcs,
        deps = [_suffixed(d, "_protos") for d in deps + option_deps],
        visibility = visibility,
        tags = tags,
    )
    _waymark_descriptor_set(
        name = name + "_descriptor_set",
        protos = [protos],
        visibility = visibility,
        tags = tags,
    )

    messages = name + "_messages_gen"
    _waymark_generate(
        name = messages,
        language = "c" if plain else "waymark-c",
        options = [] if plain else ["messages", "protoc-gen-c=$PROTOC_GEN_C"],
        plugin = "@protoc//:protoc-gen-c" if plain else "//bazel/protoc-gen-waymark-c",
        protos = protos,
        suffixes = [".pb-c.h", ".pb-c.c"],
        tags = tags,
    )
    message_headers = [_output_group(name + "_messages_h", messages, "pb_c_h", tags)]
    message_sources = [_output_group(name + "_messages_c", messages, "pb_c_c", tags)]
    message_deps = deps + [
        "//{}:include_root".format(_TEST_ROOT if native.package_name() == _TEST_ROOT else _OUR_ROOT),
        "@protobuf_c",
    ]

    if services:
        stubs = name + "_stubs_gen"
        kinds = ["methods", "client", "server"]
        _waymark_generate(
            name = stubs,
            language = "waymark-c",
            only = services,
            options = ["methods", "client", "server", "tree"],
            plugin = "//bazel/protoc-gen-waymark-c",
            protos = protos,
            suffixes = ["." + kind + "." + ext for kind in kinds for ext in ["h", "c"]],
            tags = tags,
        )
        groups = {
            kind + "_" + ext: _output_group("%s_%s_%s" % (name, kind, ext), stubs, kind + "_" + ext, tags)
            for kind in kinds
            for ext in ["h", "c"]
        }
        message_headers.append(groups["methods_h"])
        message_sources.append(groups["methods_c"])
        message_deps = message_deps + ["//base"]
        for kind, runtime in [("client", "//client"), ("server", "//server/rpc")]:
            native.cc_library(
                name = name + "_" + kind,
                srcs = [groups[kind + "_c"]],
                hdrs = [groups[kind + "_h"]],
                deps = [":" + name, runtime],
                visibility = visibility,
                tags = tags,
            )

    # What an installed SDK has of these protos.
    native.filegroup(
        name = name + "_client_headers",
        srcs = [name + "_messages_h"] + ([name + "_client_h"] if services else []),
        tags = tags,
        visibility = visibility,
    )
    native.cc_library(
        name = name,
        srcs = message_sources,
        hdrs = message_headers,
        deps = message_deps,
        visibility = visibility,
        tags = tags,
    )
