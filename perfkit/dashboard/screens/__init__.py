"""The dashboard's screens, scripts that Streamlit runs; each shows what the sidebar picked."""
