import Base
import Glibc
import Model
import Posix

/// `meshbench keeper -- COMMAND...`: runs a command of a scenario so that nothing which descends
/// from it outlives the rig (`Posix.Keeper`). The rig starts it; it is in no list of commands.
func runKeeper(_ words: [String]) throws(CommandFailure) -> Never {
    guard words.first == "--", words.count > 1 else {
        throw .usage("meshbench keeper: the rig starts this; give -- and a command")
    }
    do throws(SystemError) {
        // Ends as the command ended, so that the rig can say what it would have seen itself.
        exit(try Keeper.run(Array(words.dropFirst()), grace: .seconds(5)).shellCode)
    } catch {
        throw .failed("meshbench keeper: \(error)")
    }
}
