"""How the workbench and the catalogue answer under load."""
