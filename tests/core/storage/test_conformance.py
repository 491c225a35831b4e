from shadho.storage.jsonl import JSONLines
from shadho.storage.memory import Memory
from shadho.storage.sqlite import SQLite
from shadho.testing import DurableStorageSuite, StorageSuite


class TestMemory(StorageSuite):
    def make(self, place):
        return Memory()


class TestSQLite(DurableStorageSuite):
    def make(self, place):
        return SQLite(place.with_suffix('.db'))


class TestSQLiteWithFullDurability(DurableStorageSuite):
    def make(self, place):
        return SQLite(place.with_suffix('.db'), durability='full')


class TestJSONLines(DurableStorageSuite):
    def make(self, place):
        return JSONLines(place.with_suffix('.json'))


class TestJSONLinesWithFullDurability(DurableStorageSuite):
    def make(self, place):
        return JSONLines(place.with_suffix('.json'), durability='full')
