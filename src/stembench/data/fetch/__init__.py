"""Raw files arrive, each checked by its checksum."""
