import FoundationEssentials
import Model
import Testing

@testable import Rig

@Suite struct CredentialsTests {
    /// Runs `body` with credentials in a folder that is gone afterwards.
    private func with(
        _ identities: Set<String>, _ body: (Credentials, String) throws -> Void
    ) throws {
        let folder = FileManager.default.temporaryDirectory
            .appending(path: "meshbench-credentials-\(UUID())").path
        defer { try? FileManager.default.removeItem(atPath: folder) }
        try body(try Credentials(identities, in: folder), folder)
    }

    @Test func onlyThisUserMayReadThem() throws {
        try with(["echo", "load-main"]) { _, folder in
            func mode(_ path: String) throws -> Int {
                let all = try FileManager.default.attributesOfItem(atPath: path)
                return try #require(all[.posixPermissions] as? Int)
            }
            #expect(try mode(folder) == 0o700)
            let names = try FileManager.default.contentsOfDirectory(atPath: folder)
            #expect(
                Set(names) == [
                    "authority.crt", "echo.crt", "echo.key", "load-main.crt", "load-main.key",
                ])
            for name in names { #expect(try mode(folder + "/" + name) == 0o600, "\(name)") }
        }
    }

    @Test func eachSideNamesWhatIsThere() throws {
        try with(["echo", "load-main"]) { credentials, _ in
            let server = credentials.server(.init(identity: "echo", asksClient: true))
            let client = credentials.client(.init(identity: "load-main", peer: "echo"))
            #expect(server.clientCertificate == .required)
            #expect(client.names == ["spiffe://meshbench.test/ns/default/sa/echo"])
            let files = [
                server.certificate, server.key, server.authorities, client.authorities,
                client.certificate, client.key,
            ]
            for file in files {
                let path = try #require(file)
                #expect(FileManager.default.fileExists(atPath: path))
            }
            let open = credentials.server(.init(identity: "echo", asksClient: false))
            #expect(open.clientCertificate == .none && open.authorities == nil)
            let unnamed = credentials.client(.init(identity: nil, peer: "echo"))
            #expect(unnamed.certificate == nil && unnamed.key == nil)
        }
    }
}
