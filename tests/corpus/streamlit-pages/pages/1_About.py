import streamlit as st

st.title("About")
st.write("A page about numbers.")
