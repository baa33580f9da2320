import Base
import FoundationEssentials
import Model
import Scenario
import Testing

/// Features by number and name: the table of docs/SEMANTICS.md and what `proves` takes.
@Suite struct MeshFeatureTests {
    @Test func theTableIsThatOfTheDocument() throws {
        let rows = try packageText("docs/SEMANTICS.md").split(separator: "\n").compactMap {
            line -> [String]? in
            let cells = line.split(separator: "|").map { cell in
                cell.drop { $0 == " " }.reversed().drop { $0 == " " }.reversed()
            }.map { String($0) }
            return cells.count == 7 && Int(cells[0]) != nil ? cells : nil
        }
        #expect(rows.map { $0[0] } == MeshFeature.all.map { "\($0.number)" })
        #expect(rows.map { $0[1] } == MeshFeature.all.map { "`\($0.name)`" })
        #expect(rows.map { $0[2] } == MeshFeature.all.map(\.title))
    }

    @Test func numbersAndNamesAreTheirOwn() {
        let all = MeshFeature.all
        #expect(all.map(\.number) == Array(1...all.count))
        #expect(Set(all.map(\.name)).count == all.count)
        for feature in all {
            #expect(feature.name.utf8.allSatisfy { $0 == 45 || (48...57).contains($0) || $0 > 96 })
        }
    }

    @Test func aScenarioNamesThemByEither() throws {
        let file = try scenario(minimal + "proves: [breaker-requests, 25]\n")
        #expect(file.experiment.proves == [1, 25])
        #expect(file.plan.contains("proves 1 Breaker: requests; 25 Rate limit: local"))
        #expect(
            errors(minimal + "proves: [braker-requests]\n") == [
                "11:10: unknown feature 'braker-requests'; did you mean 'breaker-requests'?"
            ])
        #expect(
            errors(minimal + "proves: [77]\n") == [
                "11:10: unknown feature '77' (docs/SEMANTICS.md lists them)"
            ])
    }

    /// The set of `meshbench conform`: what proves a feature does so by a control, and all of it is
    /// short.
    @Test func scenariosOfResilienceAreProofs() throws {
        let folder = packageRoot + "/scenarios/resilience"
        let names = try FileManager.default.contentsOfDirectory(atPath: folder)
            .filter { $0.hasSuffix(".yaml") }
        #expect(!names.isEmpty)
        var seconds = 0.0
        for name in names {
            let file = try scenario(try packageText("scenarios/resilience/\(name)"))
            let experiment = file.experiment
            #expect("\(experiment.name).yaml" == name)
            #expect(!experiment.proves.isEmpty, "\(name) proves nothing")
            // Without one it shows that something holds, and not what makes it hold.
            #expect(!experiment.controls.isEmpty, "\(name) has no control")
            seconds += experiment.duration(rounds: experiment.rounds.min).seconds
        }
        // Of a quarter of an hour with two at once, starting and stopping takes its time too.
        #expect(seconds <= 1400, "\(seconds) s are more than the set may take")
    }
}
