// LoadCore
