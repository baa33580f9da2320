// swift-tools-version: 6.2
import Glibc
import PackageDescription

// One list for every Swift target: the strictest language the toolchain offers, and no warning
// passes.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .strictMemorySafety(),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
    .treatAllWarnings(as: .error),
    // Exclusivity is checked in debug builds, where the tests run; a release pays nothing for it.
    .unsafeFlags(["-enforce-exclusivity=unchecked"], .when(configuration: .release)),
]

// The toolchain's own linker packs the relocations of the release binary: each process reads 1 MB
// less at its start and has that much less resident. glibc before 2.36 cannot load such a binary.
var glibc = [CChar](repeating: 0, count: 64)
_ = unsafe confstr(Int32(_CS_GNU_LIBC_VERSION), &glibc, glibc.count)
let version = String(decoding: glibc.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self)
    .split { !$0.isNumber }.compactMap { Int($0) }
let packing: [LinkerSetting] =
    version.lexicographicallyPrecedes([2, 36])
    ? []
    : [
        .unsafeFlags(
            ["-use-ld=lld", "-Xlinker", "-z", "-Xlinker", "pack-relative-relocs"],
            .when(configuration: .release))
    ]

/// A layer of the program. What each may import is held by `Tests/TidyTests`.
func module(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: settings)
}

func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies + ["Support"], swiftSettings: settings)
}

let package = Package(
    name: "meshbench",
    products: [.executable(name: "meshbench", targets: ["meshbench"])],
    targets: [
        // 0: what Swift cannot see.
        .target(name: "CShims"),
        .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .systemLibrary(
            name: "CNghttp2", pkgConfig: "libnghttp2", providers: [.apt(["libnghttp2-dev"])]),
        .systemLibrary(name: "COpenSSL", pkgConfig: "openssl", providers: [.apt(["libssl-dev"])]),
        // 1
        module("Base", []),
        // 2
        module("Model", ["Base"]),
        module("Stats", ["Base"]),
        module("Wire", ["Base", "CNghttp2"]),
        module("Secure", ["Base", "COpenSSL"]),
        module("Posix", ["Base", "CShims"]),
        // 3
        module("Fault", ["Base", "Model"]),
        module("Scenario", ["Base", "Model", "CYAML"]),
        module("Report", ["Base", "Model", "Stats", "CZlib"]),
        // 4: the cores. None touches a socket, none imports another.
        module("ProxyCore", ["Base", "Model", "Fault", "Stats", "Wire", "Secure"]),
        module("LoadCore", ["Base", "Model", "Stats", "Wire", "Secure"]),
        module("ControlCore", ["Base", "Model", "Wire", "Secure"]),
        // 5
        module(
            "Runtime",
            [
                "Base", "Model", "Fault", "Stats", "Wire", "Secure", "Posix", "ProxyCore",
                "LoadCore", "ControlCore",
            ]),
        // 6
        module(
            "Rig",
            [
                "Base", "Model", "Stats", "Secure", "Posix", "LoadCore", "Scenario", "Report",
                "Runtime",
            ]),
        // 7
        .executableTarget(
            name: "meshbench",
            dependencies: [
                "Base", "Model", "Stats", "Posix", "LoadCore", "Rig", "Scenario", "Report",
                "Runtime",
            ],
            swiftSettings: settings, linkerSettings: packing),
        // Tests.
        .target(
            name: "Support", dependencies: ["Base", "Posix", "Secure"], path: "Tests/Support",
            swiftSettings: settings),
        tests("BaseTests", ["Base"]),
        tests("ModelTests", ["Base", "Model"]),
        tests("StatsTests", ["Base", "Stats"]),
        tests("WireTests", ["Base", "Wire"]),
        tests("SecureTests", ["Base", "COpenSSL", "Secure"]),
        tests("PosixTests", ["Base", "Posix"]),
        tests("ScenarioTests", ["Base", "Model", "Scenario"]),
        tests("ReportTests", ["Base", "Model", "Stats", "Report"]),
        tests("FaultTests", ["Base", "Model", "Fault"]),
        tests("ProxyCoreTests", ["Base", "Model", "Fault", "Wire", "Secure", "ProxyCore"]),
        tests("LoadCoreTests", ["Base", "Model", "Stats", "Wire", "LoadCore"]),
        tests(
            "ControlCoreTests", ["Base", "Model", "Wire", "Secure", "Scenario", "ControlCore"]),
        tests(
            "RuntimeTests",
            [
                "Base", "Model", "Fault", "Stats", "Wire", "Secure", "Posix", "ProxyCore",
                "LoadCore", "ControlCore", "Scenario", "Runtime",
            ]),
        tests(
            "RigTests",
            [
                "Base", "Model", "Stats", "Posix", "LoadCore", "Report", "Scenario", "Runtime",
                "Rig",
            ]),
        tests(
            "IntegrationTests",
            ["Base", "Model", "Posix", "Secure", "Stats", "LoadCore", "Report", "Runtime"]),
        tests(
            "CommandTests",
            ["Base", "Model", "Stats", "LoadCore", "Posix", "Scenario", "Runtime", "meshbench"]),
        tests("TidyTests", []),
    ]
)
