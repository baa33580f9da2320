import Base
import FoundationEssentials
import Model
import Posix
import Support
import Testing

@testable import Rig

/// The processes of an arm, really started.
@Suite struct RosterTests {
    /// While it is down nobody else is given its ports, so that it can come back to them.
    @Test func aControlPlaneThatWasKilledComesBackWhereItWas() throws {
        let parent = FileManager.default.temporaryDirectory.path + "/roster-\(UUID())"
        defer { try? FileManager.default.removeItem(atPath: parent) }
        let path = try Support.Program.meshbench()
        let place = try Workplace(
            program: Rig.Program(file: path, path: path),
            folder: ResultsFolder(parent: parent, name: "roster", moment: 0, commit: "none"),
            interrupts: Interrupts())
        var experiment = Made.experiment()
        experiment.mesh.control = ControlPlan()
        var topology = try Topology(.mesh, of: experiment)
        topology.nodes.removeAll { $0.group != .control }
        for index in topology.nodes.indices {
            guard case .control(var control) = topology.nodes[index].kind else { continue }
            control.proxies = 0
            topology.nodes[index].kind = .control(control)
        }
        try #require(topology.nodes.map(\.name) == ["control"])
        let roster = try Roster(topology, in: place)
        defer { roster.stop() }
        let role = roster.roles[0]
        let doors = try #require(role.doors)
        #expect(role.addresses["main"] == doors.api && role.addresses["proxies"] == doors.proxies)
        #expect(role.held.map(\.address) == [doors.api, doors.proxies])
        var accountant = Accountant([])
        roster.cutControl(nil, &accountant)
        #expect(role.isDown)
        try roster.resumeControl(nil, &accountant)
        try roster.checkResumed(within: .seconds(60))
        #expect(try roster.desk?.standing().proxies.isEmpty == true)
    }
}
